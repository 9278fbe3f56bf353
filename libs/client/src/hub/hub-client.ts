/** The client of a hub: subscriptions of topics, several of one topic together, all on one connection. */
import type { OpenData, ParamsOf } from '@sse-channels/protocol';
import { differs, INITIAL_STATE, LEFT, type ConnectionState } from '../connection/connection-state.js';
import type { AnyEvents, ChannelOf, Contract, PatternOf } from '../contract/contract.js';
import { createIntake, type ClientParts, type Intake } from '../subscription/intake.js';
import { createListeners, type Listeners } from '../subscription/listeners.js';
import { createListening, onAbort, type Leave, type ListenOptions } from '../subscription/listening.js';
import { createSubscription, type Subscription } from '../subscription/subscription.js';
import { topicName } from './topic-name.js';
import { createTopicStream } from './topic-stream.js';
import type { TabsFeature } from '../tabs/shared-tabs.js';

/** One way through a topic. Its state is `connecting` until its topic is given, and `closed` when that is refused or ends. */
export interface HubSubscription<C extends Contract = AnyEvents> extends Subscription<C> {
  /** The topic's name. */
  readonly topic: string;
}

export interface SubscribeOptions extends ListenOptions {
  /** The cursor to begin after, such as one that came with what a request answered. @default where the topic's route says */
  readonly lastEventId?: string | undefined;
}

/** `params` may be left out where the pattern names none. */
type SubscribeArguments<Pattern extends string> = keyof ParamsOf<Pattern> extends never
  ? [params?: Readonly<Record<string, never>>, options?: SubscribeOptions]
  : [params: ParamsOf<Pattern>, options?: SubscribeOptions];

/** The client of a hub; make one with `createSseClient(url, { hub })`. */
export interface SseHubClient<C extends Contract = AnyEvents> {
  /** What the connection is doing, and why. */
  readonly state: ConnectionState;
  /** Where the stream stands. */
  readonly cursor: string;
  /**
   * Calls the handler with the state as it is now, and with each that follows.
   * @returns ends the listening
   */
  readonly onState: (handler: (state: ConnectionState) => unknown, options?: ListenOptions) => Leave;
  /**
   * A way through a topic, asked for when somebody listens. Those of one topic share it; it leaves the stream with the last. Who joins a
   * topic that others listen to is given what comes from now on.
   *
   * @example
   * live.subscribe('orders/:orderId', { orderId: 42 }).on('order.shipped', ({ carrier }) => show(carrier));
   * @param channel its pattern, or what has one: the channel itself
   * @throws SseChannelsError `INVALID_TOPIC_PARAMETER`
   */
  subscribe<Pattern extends PatternOf<C>>(
    channel: Pattern | { readonly pattern: Pattern },
    ...args: SubscribeArguments<Pattern>
  ): HubSubscription<ChannelOf<C, Pattern>>;
  /** Tries at once where a try is waited for, and looks whether the connection is alive: for an app that comes to the front. */
  wake(): void;
  /** Closes the client for good, and all its subscriptions. */
  readonly close: () => void;
}

/** A topic that is listened to. */
interface Entry {
  readonly listeners: Listeners;
  readonly intake: Intake;
  state: ConnectionState;
  /** Its subscriptions. */
  count: number;
}

/** What `createSseClient` makes the client of a hub with. */
export type HubFeature = (urlOf: () => string, options: HubParts) => SseHubClient<any>;

interface HubParts extends ClientParts {
  readonly tabs?: TabsFeature;
}

/** Makes a client that of a hub: `createSseClient(url, { hub })`. */
export const hub: HubFeature = (urlOf, options) => {
  const { onError, tabs } = options;
  const entries = new Map<string, Entry>();
  const states = createListening<[ConnectionState]>(onError);
  const create = tabs ? tabs(createTopicStream) : createTopicStream;
  const stream = create(urlOf, options, {
    onError,
    onState(state) {
      void states.tell(state);
      for (const topic of entries.keys()) become(topic);
    },
    onTopic: become,
    onEnd(topic, reason, error) {
      become(topic, { ...stream.state, status: 'closed', reason, retryInMs: null, error });
    },
    receive(event) {
      if (event.name === '$open') {
        for (const { topic, behind } of (event.data as OpenData).topics) {
          // What it is given lies before the stream's cursor.
          entries.get(topic)?.intake.begin(behind === true ? '' : event.id);
        }
        return undefined;
      }
      const entry = entries.get(event.topic ?? (event.data as { readonly topic?: string } | null)?.topic ?? '');
      // What comes before its topic was given is the rest of what was listened to before.
      return entry?.intake.begun === true ? entry.intake.receive(event) : undefined;
    },
  });

  return {
    get state() {
      return stream.state;
    },
    get cursor() {
      return stream.cursor;
    },
    onState(handler, listenOptions) {
      const leave = states.add(handler, listenOptions);
      handler(stream.state);
      return leave;
    },
    subscribe(channel, ...[params, { signal, lastEventId = null } = {}]) {
      const topic = topicName(typeof channel === 'string' ? channel : channel.pattern, params);
      const listeners = createListeners(onError);
      let leaves: readonly Leave[] | undefined;
      let forget: Leave = () => undefined;
      let state = INITIAL_STATE;
      const follow = (next: ConnectionState): void => {
        if (state.status === 'closed') return;
        state = next;
        void listeners.states.tell(state);
        if (state.status !== 'closed') return;
        forget();
        leaves?.forEach((leave) => leave());
      };
      const close = (): void => follow({ ...state, ...LEFT });
      const start = (): void => {
        if (leaves || state.status === 'closed') return;
        const entry = entryOf(topic, lastEventId);
        entry.count += 1;
        leaves = [
          entry.listeners.events.add(listeners.events.tell),
          entry.listeners.gaps.add(listeners.gaps.tell),
          entry.listeners.states.add(follow),
          () => {
            entry.count -= 1;
            if (entry.count > 0 || entries.get(topic) !== entry) return;
            entries.delete(topic);
            stream.remove(topic);
          },
        ];
        if (differs(state, entry.state)) follow(entry.state);
      };
      forget = onAbort(signal, close);
      const source = {
        get state() {
          return state;
        },
        get cursor() {
          return stream.cursorOf(topic);
        },
        start,
        close,
      };
      return Object.assign(createSubscription<any>(listeners, source), { topic });
    },
    wake: stream.wake,
    close: stream.close,
  };

  function entryOf(topic: string, place: string | null): Entry {
    let entry = entries.get(topic);
    if (entry) return entry;
    const listeners = createListeners(onError);
    entry = { listeners, intake: createIntake(listeners, options), state: INITIAL_STATE, count: 0 };
    entries.set(topic, entry);
    if (stream.add(topic, place)) entry.intake.begin();
    entry.state = stream.stateOf(topic);
    return entry;
  }

  function become(topic: string, state = stream.stateOf(topic)): void {
    const entry = entries.get(topic);
    if (!entry || !differs(entry.state, state)) return;
    if (state.status === 'closed') entries.delete(topic);
    entry.state = state;
    void entry.listeners.states.tell(state);
  }
};
