/** Many tabs, one connection: one of them leads and has it, the others are told what came; when it closes or dies, another goes on. */
import type { OpenData } from '@sse-channels/protocol';
import { INITIAL_STATE, LEFT, type ConnectionState } from '../connection/connection-state.js';
import { keepPlace } from '../connection/kept-place.js';
import { isHidden } from '../connection/page.js';
import { isNotAfter } from '../connection/place.js';
import type { Incoming } from '../connection/receiver.js';
import { createTopicPlaces } from '../hub/topic-places.js';
import type { createTopicStream, SharedTopicStream, TopicStream, TopicStreamListener } from '../hub/topic-stream.js';
import { createTabLeader, type TabLeader } from './tab-leader.js';
import {
  notShared,
  receivedError,
  receivedState,
  sentError,
  sentState,
  type TabMessage,
  type TabWants,
} from './tab-message.js';

/** Makes the connection of a hub's client; what `sharedTabs` gives makes one that tabs share. */
export type TabsFeature = (
  create: typeof createTopicStream,
) => (...args: Parameters<typeof createTopicStream>) => TopicStream;

export interface SharedTabsOptions {
  /**
   * Which tabs share: those of one origin that have this name and the client's URL. Take the user's id where several may be signed in, one
   * in each tab.
   * @default ''
   */
  readonly name?: string;
}

/** What the end of another tab's connection may take to come to the server. */
const END_MS = 100;
/** How long a new leader waits for tabs that live to say what they want. */
const ANSWERS_MS = 500;
/** Who lost the lead waits so long before it wants it again. */
const STOLEN_MS = 100;
/** A leader of which nothing is heard is asked after so long, and given up after as long again. */
const SILENCE_MS = 10_000;
/** How long after its time a leader's next attempt is late. */
const LATE_MS = 1_000;
/** Events that may wait for a tab's handlers; beyond that they are left out, and a gap is told. */
const MOST_WAITING = 10_000;

/** Web Locks and the rest of a browser, as far as it matters here. */
interface View {
  readonly navigator?: { readonly locks?: Locks };
  readonly BroadcastChannel?: new (name: string) => Channel;
}
interface Locks {
  request<T>(name: string, options: object, use: () => T | Promise<T>): Promise<T>;
  query(): Promise<{ readonly held?: ReadonlyArray<{ readonly name?: string }> }>;
}
interface Channel {
  addEventListener(name: 'message', hear: (message: { readonly data: unknown }) => void): void;
  postMessage(message: unknown): void;
  close(): void;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

type StateMessage = Extract<TabMessage, { readonly kind: 'state' }>;
type EventMessage = Extract<TabMessage, { readonly kind: 'event' }>;

/** A topic that this tab wants. */
interface OwnTopic {
  wanted: boolean;
  /** Undefined: the stream's cursor covers it. Null: at no place yet. Else its own, behind the stream's. */
  place: string | null | undefined;
  /** The same of what was handled. */
  handled: string | null | undefined;
  begun: boolean;
  /** What comes of it is for others, until the leader says that it is given from where this tab wants it. */
  deaf: boolean;
}

/** What came and is not handled yet, and where this tab stands when it is. */
interface Waiting {
  readonly event: Incoming;
  /** In the stream; undefined where that is for a later one to say. */
  cursor: string | undefined;
  readonly places: ReadonlyArray<readonly [about: OwnTopic, place: OwnTopic['place']]>;
}

/**
 * Makes the tabs of one browser share one connection: `createSseClient(url, { hub, tabs: sharedTabs() })`. Where Web Locks or
 * BroadcastChannel are missing, each tab has its own.
 */
export function sharedTabs({ name = '' }: SharedTabsOptions = {}): TabsFeature {
  return (create) => (urlOf, options, listener) => {
    const view = globalThis as unknown as View;
    if (!view.navigator?.locks || !view.BroadcastChannel) {
      return create(urlOf, options, listener);
    }

    const { locks } = view.navigator;
    const { BroadcastChannel } = view;
    const { storage: _storage, lastEventId = null, ...shared } = options;
    const id = String(Math.random()).slice(2);
    const own = new Map<string, OwnTopic>();
    const topicStates = new Map<string, ConnectionState>();
    /** Ends everything that this tab waits for. */
    const closing = new AbortController();
    const whileOpen = { signal: closing.signal };
    let sharedName = '';
    let channel: Channel | undefined;
    /** This tab has its lock: others can tell whether it lives. */
    let joined = false;
    let leader: TabLeader | undefined;
    /** Lets go of the leadership. */
    let resign: () => void = () => undefined;
    let state: ConnectionState = INITIAL_STATE;
    let wasOpen = false;
    let cursor = '';
    let announcing = false;
    let telling = false;
    let heard = true;
    let watch: ReturnType<typeof setInterval> | undefined;
    const places = createTopicPlaces(cursorOf, listener.onError);
    const kept = keepPlace(options, urlOf, () => places.textOf(own.keys()), listener.onError);
    /** Where the stream stood after the last event that was handled. */
    let handledCursor = '';
    /** What waits for a handler. */
    const waiting: Waiting[] = [];
    /** The last that is not handled yet. */
    let newest: Waiting | undefined;
    let handling: Promise<void> | undefined;

    return {
      get state() {
        return state;
      },
      get cursor() {
        return handledCursor;
      },
      cursorOf,
      stateOf(topic) {
        const about = own.get(topic);
        if (state.status !== 'open') return state;
        if (about?.begun !== true) return { ...state, status: 'connecting', reason: 'started' };
        return topicStates.get(topic) ?? state;
      },
      add(topic, place) {
        start();
        announce();
        const about = own.get(topic);
        if (about) {
          // Taken out and in again before anybody was told, it stays.
          about.wanted = true;
          return about.begun;
        }
        // A cursor that an application has brought is for the topics that it begins with.
        const from = place ?? (joined ? null : lastEventId) ?? places.take(topic);
        own.set(topic, { wanted: true, place: from, handled: from, begun: false, deaf: true });
        return false;
      },
      remove(topic) {
        const about = own.get(topic);
        if (about) about.wanted = false;
        announce();
      },
      wake() {
        if (leader) leader.stream.wake();
        else post({ kind: 'wake' });
      },
      close: () => close({ ...state, ...LEFT }),
    };

    function start(): void {
      if (sharedName !== '' || isClosed()) return;
      sharedName = `sse-channels/1 ${name} ${urlOf()}`;
      channel = new BroadcastChannel(sharedName);
      channel.addEventListener('message', ({ data }) => hear(data as TabMessage));
      watch = setInterval(lookForLeader, SILENCE_MS * (0.8 + Math.random() / 2.5));
      void join();
    }

    async function join(): Promise<void> {
      places.restore(await kept.load());
      for (const [topic, about] of own) about.handled = about.place ??= places.take(topic);
      // Held for as long as the tab lives: whoever gets it knows that it does not.
      await hold(`${sharedName} ${id}`, () => {
        joined = true;
        announce();
        void lead();
        return untilClosed();
      });
      if (joined || isClosed()) return;
      // Locks are not to be had here, as in a frame without an origin: this tab has its own connection.
      joined = true;
      channel?.close();
      channel = undefined;
      announce();
      void take();
    }

    /** Leads as soon as nobody else does. */
    async function lead(): Promise<void> {
      while (!isClosed()) await hold(sharedName, take);
    }

    /** @returns when it is over */
    async function hold(lock: string, use: () => Promise<void>, how: object = whileOpen): Promise<void> {
      try {
        await locks.request(lock, how, use);
      } catch {
        // The client was closed, or another tab took the lock: this one was not heard of for too long.
        if (lock !== sharedName) return;
        stepDown();
        await pause(STOLEN_MS);
      }
    }

    /** This tab leads. */
    async function take(): Promise<void> {
      if (leader || isClosed()) return;
      const over = new Promise<void>((resolve) => (resign = resolve));
      const answered = new Set<string>([id]);
      // Another tab may be seen while this one is hidden.
      const open = (): SharedTopicStream => create(urlOf, { ...shared, pauseHiddenAfterMs: null }, streamListener());
      const leading = createTabLeader(open, {
        onTab(tab) {
          answered.add(tab);
          if (tab !== id) void watchTab(tab);
        },
        onHeard: (tab, topic) => tell({ kind: 'hear', to: tab, topic }),
      });
      leader = leading;
      leading.take(wants());
      post({ kind: 'lead' });
      await answers(answered);
      if (leader === leading) leading.begin();
      await over;
    }

    /** Waits for what the tabs that live want; one that does not answer, since it is frozen, is taken in later. */
    async function answers(answered: ReadonlySet<string>): Promise<void> {
      if (!channel) return;
      // A server may hear later of the end of a connection than the browser of the end of its tab.
      if (wasOpen) await pause(END_MS);
      const until = Date.now() + ANSWERS_MS;
      while (Date.now() < until) {
        const missing = (await livingTabs()).filter((tab) => !answered.has(tab));
        if (missing.length === 0) return;
        await pause(10);
      }
    }

    async function livingTabs(): Promise<readonly string[]> {
      const { held = [] } = await locks.query();
      return held.flatMap(({ name: lock = '' }) =>
        lock.startsWith(`${sharedName} `) ? [lock.slice(sharedName.length + 1)] : [],
      );
    }

    /** Waits until a tab is gone. */
    async function watchTab(tab: string): Promise<void> {
      const watching = leader;
      await hold(`${sharedName} ${tab}`, async () => undefined);
      if (leader === watching) watching?.drop(tab);
    }

    function stepDown(): void {
      const stream = leader?.stream;
      leader = undefined;
      resign();
      stream?.close();
    }

    /** Whether the one that leads still does something: a phone puts tabs to sleep with their locks. */
    function lookForLeader(): void {
      if (leader || !joined) return;
      if (!heard && !isHidden()) void hold(sharedName, take, { steal: true });
      heard = false;
      post({ kind: 'ping' });
    }

    function streamListener(): TopicStreamListener {
      return {
        onError: listener.onError,
        onState: tellState,
        onTopic: tellState,
        onEnd(topic, reason, error) {
          if (!leader) return;
          leader.forget(topic);
          tell({ kind: 'end', topic, reason, error: sentError(error) });
        },
        receive(event) {
          if (!leader) return undefined;
          const { stream, isAlone } = leader;
          const message: EventMessage = { kind: 'event', event, cursor: event.id ?? stream.cursor };
          post(message);
          const handled = takeEvent(message);
          // Where others listen as well, the stream does not wait for this tab.
          return isAlone() ? handled : undefined;
        },
      };
    }

    /** Tells the others, and this tab. */
    function tell(message: TabMessage): void {
      post(message);
      hear(message);
    }

    /** What changes together is told together. */
    function tellState(): void {
      if (telling) return;
      telling = true;
      queueMicrotask(() => {
        telling = false;
        if (!leader) return;
        const { stream } = leader;
        const topics = leader.topics().map((topic) => [topic, sentState(stream.stateOf(topic))] as const);
        tell({ kind: 'state', state: sentState(stream.state), topics, cursor: stream.cursor });
      });
    }

    function post(message: TabMessage): void {
      try {
        channel?.postMessage(message);
      } catch (error) {
        listener.onError(notShared(error));
      }
    }

    function hear(message: TabMessage): void {
      if (isClosed()) return;
      const { kind } = message;
      if (kind === 'want') {
        leader?.take(message);
        // A tab that comes new does not know yet.
        return tellState();
      }
      if (kind === 'ping') return tellState();
      if (kind === 'wake') return leader?.stream.wake();
      heard = true;
      if (kind === 'lead') {
        stepDown();
        if (joined) post(wants());
      } else if (kind === 'hear') {
        const about = message.to === id ? own.get(message.topic) : undefined;
        if (about) about.deaf = false;
      } else if (kind === 'event') void takeEvent(message);
      else if (kind === 'end') {
        own.delete(message.topic);
        listener.onEnd(message.topic, message.reason, receivedError(message.error));
      } else takeState(message);
    }

    function takeState({ state: sent, topics, cursor: at }: StateMessage): void {
      const next = receivedState(sent);
      if (next.status === 'closed') return close(next);
      wasOpen ||= next.status === 'open';
      // What this tab had open is not new because another one opens it.
      state = wasOpen && next.status === 'connecting' ? { ...next, status: 'stale' } : next;
      if (next.status === 'open' && at !== '') moveTo(at);
      topicStates.clear();
      for (const [topic, its] of topics) topicStates.set(topic, receivedState(its));
      listener.onState(state);
      wakeLater();
      for (const topic of own.keys()) listener.onTopic(topic);
    }

    /** The timers of a leader that is hidden are late; this tab is not, if it is seen. */
    function wakeLater(): void {
      const { status, retryInMs } = state;
      if (leader || retryInMs === null || isHidden()) return;
      if (status === 'stale') setTimeout(() => state.status === 'stale' && post({ kind: 'wake' }), retryInMs + LATE_MS);
    }

    /** Where the stream stands; a tab that is behind with a topic is behind with that alone. */
    function moveTo(at: string): void {
      if (!isNotAfter(at, cursor)) pass(at);
    }

    /** The stream stands there, and nothing came of it for this tab. */
    function pass(at: string): undefined {
      cursor = at;
      if (newest) newest.cursor = at;
      else handledCursor = at;
    }

    function takeEvent({ event, cursor: at }: EventMessage): Promise<void> | undefined {
      const { name: kind, data, topic, ownCursor } = event;
      if (kind === '$open') {
        const opened = (data as OpenData).topics.filter((one) => own.get(one.topic)?.deaf === false);
        for (const { topic: one, behind } of opened) {
          const about = own.get(one) as OwnTopic;
          if (behind !== true) about.place = undefined;
          // What comes beside the cursor may be for others; this tab stands where the stream stood.
          else if (about.begun && about.place === undefined) about.place = cursor;
          about.begun = true;
        }
        if (opened.length === 0) return pass(at);
        cursor = at;
        const abouts = opened.map((one) => own.get(one.topic) as OwnTopic);
        const handled = handle({ ...event, data: { ...(data as OpenData), topics: opened } }, abouts);
        for (const { topic: one } of opened) listener.onTopic(one);
        return handled;
      }
      const about = own.get(topic ?? (data as { readonly topic?: string } | null)?.topic ?? '');
      const stands = event.id === undefined ? cursor : at;
      if (!about || about.deaf || !about.begun) return pass(stands);
      if (kind === '$live') about.place = undefined;
      if (ownCursor !== undefined) {
        // Had already: it is given again for another tab. A log that went back is news for all.
        const { reason = '' } = (data ?? {}) as { readonly reason?: string };
        const isKnown = about.place != null && isNotAfter(ownCursor, about.place);
        if (isKnown && (kind !== '$gap' || reason !== 'rewound')) return pass(stands);
        about.place = ownCursor;
      }
      cursor = stands;
      return handle(event, [about]);
    }

    /** Hands an event over when those before it are handled. */
    function handle(event: Incoming, abouts: readonly OwnTopic[]): Promise<void> | undefined {
      newest = { event, cursor, places: abouts.map((about) => [about, about.place]) };
      waiting.push(newest);
      if (waiting.length > MOST_WAITING) leaveOut();
      if (handling) return handling;
      const first = handNext();
      if (!first) return undefined;
      return (handling = handleRest(first));
    }

    /** @returns a promise where a handler gave one */
    function handNext(): Promise<unknown> | undefined {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const one = next;
        const handled = listener.receive(one.event);
        if (handled) return handled.then(() => settle(one));
        settle(one);
      }
      return undefined;
    }

    function settle(done: Waiting): void {
      handledCursor = done.cursor ?? handledCursor;
      for (const [about, place] of done.places) about.handled = place;
      if (done === newest) newest = undefined;
      void kept.save();
    }

    async function handleRest(first: Promise<unknown>): Promise<void> {
      for (let handled: Promise<unknown> | undefined = first; handled; handled = handNext()) await handled;
      handling = undefined;
    }

    /** A tab that does not keep up is told so. */
    function leaveOut(): void {
      const all = waiting.splice(0);
      const left: Incoming[] = [];
      const counts = new Map<string, Incoming & { readonly skipped: number }>();
      for (const { event } of all) {
        const { name: kind, topic = '' } = event;
        if (kind.startsWith('$')) left.push(event);
        else counts.set(topic, { ...event, skipped: (counts.get(topic)?.skipped ?? 0) + 1 });
      }
      for (const [topic, { skipped, ...event }] of counts) {
        left.push({ ...event, name: '$gap', data: { topic, reason: 'skipped', skipped } });
      }
      waiting.push(...left.map((event) => ({ event, cursor: undefined, places: [] })));
      // Only after the last of them this tab stands where it would have stood.
      const end = waiting.pop() as Waiting;
      newest = { ...end, cursor, places: all.flatMap((one) => one.places) };
      waiting.push(newest);
    }

    function announce(): void {
      if (announcing) return;
      announcing = true;
      setTimeout(() => {
        announcing = false;
        if (!joined || isClosed()) return;
        for (const [topic, { wanted }] of own) if (!wanted) own.delete(topic);
        if (leader) leader.take(wants());
        else post(wants());
      }, 0);
    }

    function wants(): TabWants {
      const topics = [...own]
        .filter(([, { wanted }]) => wanted)
        .map(([topic, { begun, place = null }]) => ({ topic, begun, place }));
      return { kind: 'want', from: id, cursor, topics };
    }

    function cursorOf(topic: string): string {
      const { handled = handledCursor } = own.get(topic) ?? { handled: '' };
      return handled ?? '';
    }

    function isClosed(): boolean {
      return state.status === 'closed';
    }

    function close(end: ConnectionState): void {
      if (isClosed()) return;
      state = end;
      clearInterval(watch);
      stepDown();
      closing.abort();
      channel?.close();
      listener.onState(state);
    }

    function untilClosed(): Promise<void> {
      return new Promise((resolve) => closing.signal.addEventListener('abort', () => resolve()));
    }
  };
}
