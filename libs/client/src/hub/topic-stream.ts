/** One connection for many topics: which it carries, where each of them stands, and what is added and taken out while it is open. */
import type { ClosingData, ErrorData, LiveData, OpenData, SseChannelsError } from '@sse-channels/protocol';
import type { ConnectionOptions } from '../connection/connection-options.js';
import { createConnection } from '../connection/connection.js';
import type { ConnectionState, StateReason } from '../connection/connection-state.js';
import type { Receiver } from '../connection/receiver.js';
import { beginningOf, isOf, JSON_TYPE } from '../connection/end.js';
import { StreamError } from '../connection/stream-error.js';
import type { Question } from '../connection/stream-request.js';
import { createTopicPlaces } from './topic-places.js';

/** More topics than a URL of this length holds go in a body. */
const URL_LENGTH = 1_800;
/** So many topics any hub lets one request name. */
const MOST_NAMES = 1_000;
/** What a body may be long: servers with Express' own parser take 100 kB. */
const BODY_LENGTH = 90_000;
/** What a topic takes of it beside its name and its place. */
const ENTRY_LENGTH = 32;
/** How long the answer to a change is waited for. */
const PATIENCE_MS = 30_000;
/** After so long a topic that could not be given for now is asked for again. */
const AGAIN_MS = 3_000;

export interface TopicStreamListener extends Receiver {
  onState(state: ConnectionState): void;
  readonly onError: (error: SseChannelsError) => void;
  /** A topic was given, or is not for now. */
  onTopic(topic: string): void;
  /** A topic ended for good, or was refused. */
  onEnd(topic: string, reason: StateReason, error: StreamError | undefined): void;
}

export interface TopicStream {
  readonly state: ConnectionState;
  readonly cursor: string;
  /** Where the client stands in a topic. */
  cursorOf(topic: string): string;
  /** How a topic is doing. */
  stateOf(topic: string): ConnectionState;
  /**
   * Asks for a topic; changes that are made together go out together.
   * @param place the cursor to begin at; null: where its route says
   * @returns whether the stream has it: what comes next is for who asks
   */
  add(topic: string, place: string | null): boolean;
  /** Takes a topic out. */
  remove(topic: string): void;
  readonly wake: () => void;
  readonly close: () => void;
}

/** One that is read for several. */
export interface SharedTopicStream extends TopicStream {
  /**
   * Asks for a topic that others may have already, who go on as they are.
   * @param given called just before the stream tells that it is given from the place, and what it gives
   */
  join(topic: string, place: string | null, given: () => void): void;
  /** Goes on with a topic, at the stream's cursor or at its own place; before the stream begins. */
  resume(topic: string, cursor: string, place: string): void;
}

interface Standing {
  wanted: boolean;
  /** The stream that is open carries it, or was asked to. */
  asked?: boolean | undefined;
  /** The stream that is open said so. */
  given?: boolean | undefined;
  /** It was taken out, and the stream has not said so yet. */
  leaving?: boolean | undefined;
  /** It was taken out, and not in again in the same task. */
  left?: boolean | undefined;
  /** The request that is out asks for it as it was before: what is answered is not for who asked since. */
  outdated?: boolean | undefined;
  /** Undefined: the stream's cursor covers it. Null: at no place yet. Else its own, behind the stream's. */
  place: string | null | undefined;
  /** Why it is not given. */
  reason: StateReason;
  /** Not asked for before; milliseconds since 1970. */
  againAt: number;
  /** From where it is to be given once more, for those who joined later; the first has been asked for if `joining`. */
  readonly joins: Array<{ readonly place: string | null; readonly given: () => void }>;
  joining?: boolean | undefined;
}

export function createTopicStream(
  urlOf: () => string,
  options: ConnectionOptions,
  listener: TopicStreamListener,
): SharedTopicStream {
  const topics = new Map<string, Standing>();
  const places = createTopicPlaces(cursorOf, listener.onError);
  /** The stream's id, by which it is changed; undefined where it cannot be. */
  let id: string | undefined;
  /** What the cursor covers was asked for. */
  let begun = false;
  let changing = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** When the next change is made. */
  let dueAt = Infinity;

  const connection = createConnection(urlOf, options, {
    onError: listener.onError,
    onState(state) {
      if (state.status !== 'open') id = undefined;
      if (state.status === 'closed') clearTimeout(timer);
      listener.onState(state);
    },
    question() {
      id = undefined;
      const isNew = [...topics.values()].some(({ asked }) => !asked);
      for (const [name, topic] of topics) {
        if (!topic.wanted) topics.delete(name);
        // A cursor that an application has brought is for the topics that it begins with.
        if (!begun && topic.place === null && connection.cursor !== '') topic.place = undefined;
        topic.asked = topic.leaving = topic.joining = topic.outdated = false;
      }
      begun = true;
      const named = thatFit([...topics]);
      for (const [, topic] of named) topic.asked = true;
      // The others are added when the stream is there.
      for (const topic of topics.values()) if (!topic.asked) leaveBehind(topic, connection.state.reason);
      const covers = named.some(([, { place }]) => place === undefined);
      if (!covers) connection.moveTo('');
      const question = questionOf(
        named.map(([topic, { place }]) =>
          place === undefined || (place === null && !covers) ? topic : { topic, lastEventId: place },
        ),
      );
      return { ...question, isNew };
    },
    place: () => places.textOf(topics.keys()),
    restore(text) {
      if (!places.restore(text)) return;
      for (const [name, topic] of topics) {
        topic.place ??= places.take(name);
        // One that several share goes as the stream's.
        if (connection.cursor === '') connection.moveTo(topic.place ?? '');
        if (topic.place === connection.cursor) topic.place = undefined;
      }
      begun = true;
    },
    receive(event) {
      const { name, data, topic, ownCursor } = event;
      const about = topics.get(topic ?? (data as Partial<LiveData> | null)?.topic ?? '');
      if (name === '$open') return listener.receive({ ...event, data: begin(data as OpenData) });
      if (name === '$error') refuse(data as Refusal);
      else if (name === '$closing') end(data as Ending);
      else if (about && name === '$live') about.place = undefined;
      const handled = listener.receive(event);
      if (!about || ownCursor === undefined) return handled;
      const move = (): undefined => void (about.place = ownCursor);
      return handled ? handled.then(move) : move();
    },
  });

  const stream: SharedTopicStream = {
    get state() {
      return connection.state;
    },
    get cursor() {
      return connection.cursor;
    },
    cursorOf,
    stateOf(name) {
      const { state } = connection;
      const topic = topics.get(name);
      if (state.status !== 'open' || !topic || topic.given) return state;
      return { ...state, status: topic.reason === 'started' ? 'connecting' : 'stale', reason: topic.reason };
    },
    add(name, place) {
      const topic = topics.get(name);
      changeIn(0);
      // Taken out and in again before anybody was told, it stays.
      if (topic && isCarried(topic)) return (topic.wanted = true);
      topics.set(name, {
        ...NEW,
        leaving: topic?.leaving,
        outdated: topic?.asked && isOut(),
        place: place ?? places.take(name),
        joins: [],
      });
      return false;
    },
    join(name, place, given) {
      const topic = topics.get(name);
      if (!topic || !(topic.wanted || isCarried(topic))) {
        stream.add(name, place);
        given();
      } else if (topic.given || topic.place !== null || place !== null) {
        topic.wanted = true;
        topic.joins.push({ place, given });
        changeIn(0);
      } else given();
    },
    resume(name, cursor, place) {
      begun = true;
      connection.moveTo(cursor);
      topics.set(name, { ...NEW, place: place === cursor ? undefined : place, joins: [] });
      changeIn(0);
    },
    remove(name) {
      const topic = topics.get(name);
      if (!topic) return;
      topic.wanted = false;
      changeIn(0);
    },
    wake: connection.wake,
    close: connection.close,
  };
  return stream;

  function cursorOf(name: string): string {
    const { place = connection.cursor } = topics.get(name) ?? { place: '' };
    return place ?? '';
  }

  /** Whether the stream brings it to who listens to it. */
  function isCarried({ given, left }: Standing): boolean {
    return !!given && !left;
  }

  /** Whether a request for the stream is made that has not told of its topics yet. */
  function isOut(): boolean {
    return id === undefined && (connection.state.status === 'open' || connection.state.retryInMs === 0);
  }

  /** @returns what it says of topics as they are asked for now */
  function begin(open: OpenData): OpenData {
    const isNew = open.connection !== id;
    id = open.connection;
    if (isNew) for (const topic of topics.values()) topic.given = false;
    const opened = open.topics.filter(({ topic }) => !topics.get(topic)?.outdated);
    for (const topic of topics.values()) topic.outdated = false;
    for (const { topic: name, behind } of opened) {
      const topic = topics.get(name);
      if (!topic || topic.leaving) continue;
      topic.given = true;
      // One that is given again was covered, and is until what it gives says otherwise.
      if (behind !== true) topic.place = undefined;
      if (!isNew && topic.joining) {
        topic.joining = false;
        topic.joins.shift()?.given();
      }
    }
    changeIn(0);
    for (const name of topics.keys()) listener.onTopic(name);
    return { ...open, topics: opened };
  }

  function refuse({ topic: name, status, message, comeBack }: Refusal): void {
    const topic = topics.get(name);
    // What every stream of the hub carries it may carry though it was refused.
    if (!topic || (topic.given && !topic.joining)) return;
    if (comeBack) return later(name, topic, 'refused');
    // Where it was given before, and is refused to who asks now, it is taken out.
    if (topic.given) stream.remove(name);
    else topics.delete(name);
    listener.onEnd(name, 'refused', new StreamError('STREAM_REFUSED', `${name}: ${message}`, { status }));
  }

  function end({ topic: name, reason, comeBack }: Ending): void {
    const topic = topics.get(name);
    if (!topic) return;
    if (topic.leaving || !topic.wanted) {
      topic.leaving = false;
      if (!topic.wanted) topics.delete(name);
      return;
    }
    if (comeBack) return later(name, topic, reason);
    topics.delete(name);
    listener.onEnd(name, reason, undefined);
  }

  /** A topic is asked for again in a while. */
  function later(name: string, topic: Standing, reason: StateReason): void {
    topic.given = topic.asked = topic.joining = false;
    leaveBehind(topic, reason);
    topic.againAt = Date.now() + AGAIN_MS * (0.5 + Math.random());
    listener.onTopic(name);
    changeIn(0);
  }

  /** The stream goes on without it, and its cursor with the stream. */
  function leaveBehind(topic: Standing, reason: StateReason): void {
    topic.reason = reason;
    if (topic.place === undefined) topic.place = connection.cursor;
  }

  function changeIn(delayMs: number): void {
    const at = Date.now() + delayMs;
    // Who comes and goes without a pause does not put off what others wait for.
    if (at >= dueAt) return;
    dueAt = at;
    clearTimeout(timer);
    timer = setTimeout(() => {
      dueAt = Infinity;
      void change();
    }, delayMs);
  }

  /** Brings what the stream carries to what is wanted. */
  async function change(): Promise<void> {
    // From here on others know, or will as soon as they can be told.
    for (const topic of topics.values()) topic.left ||= !topic.wanted;
    if (changing) return;
    const wanted = [...topics].filter(([, topic]) => topic.wanted);
    if (wanted.length === 0) {
      topics.clear();
      return connection.rest();
    }
    connection.start();
    const { status: state, transport } = connection.state;
    const isPolling = transport === 'long-poll';
    if (isPolling) {
      // Nothing can be added to it: each request names them all.
      const message = `One long poll names ${MOST_NAMES} topics at most; let another go first.`;
      for (const [topic] of wanted.slice(thatFit(wanted).length))
        refuse({ topic, status: 400, message, comeBack: false });
    }
    const now = Date.now();
    const due = thatFit([...topics].filter(([, topic]) => isDue(topic, now)));
    for (const { asked, againAt } of topics.values()) if (!asked && againAt > now) changeIn(againAt - now);
    if (state !== 'open' || due.length === 0) return;
    if (isPolling) {
      // Nothing is given again there: who joins is given what comes from now on, and is to be told at once that it is.
      for (const [, topic] of due) {
        if (topic.joins.length > 0) topic.asked = false;
        for (const { given } of topic.joins.splice(0)) given();
      }
      return connection.renew();
    }
    if (id === undefined) return;
    const own = id;
    const add: Array<Exclude<Wish, string>> = [];
    const remove: string[] = [];
    for (const [name, topic] of due) {
      if (!topic.wanted) {
        remove.push(name);
        topic.asked = false;
        topic.leaving = true;
      } else if (topic.asked) {
        add.push({ topic: name, lastEventId: topic.joins[0]?.place ?? null });
        topic.joining = true;
      } else {
        add.push({ topic: name, lastEventId: topic.place ?? null });
        topic.asked = true;
      }
    }
    changing = true;
    const [status, answer] = await ask({ path: `/${own}`, body: { add, remove } });
    changing = false;
    // Another stream was asked for everything.
    if (own === id) {
      if (status === 200) (answer as Changed).refused.forEach(refuse);
      else if (status === 400 || status === 401 || status === 403 || status === 413) {
        const message = `${status}: ${String(answer)}`;
        for (const topic of add) refuse({ ...topic, status, message, comeBack: false });
      } else connection.renew();
    }
    changeIn(0);
  }

  /** @returns the status, 0 where there was none, and what was answered */
  async function ask(question: Question): Promise<[status: number, body: unknown]> {
    const timeout = new AbortController();
    const deadline = setTimeout(() => timeout.abort(), options.openTimeoutMs ?? PATIENCE_MS);
    try {
      const response = await connection.ask(JSON_TYPE, timeout.signal, question, '');
      return [response.status, isOf(response, JSON_TYPE) ? await response.json() : await beginningOf(response)];
    } catch {
      return [0, undefined];
    } finally {
      clearTimeout(deadline);
    }
  }
}

const NEW = {
  wanted: true,
  reason: 'started',
  againAt: 0,
} as const;

type Refusal = ErrorData & { readonly topic: string };
type Changed = { readonly refused: readonly Refusal[] };
type Ending = ClosingData & { readonly topic: string };
type Wish = string | { readonly topic: string; readonly lastEventId: string | null };

/** Whether the stream is to be told of it: to leave it out, to give it once more, or to give it. */
function isDue({ wanted, asked, given, joins, joining, againAt }: Standing, now: number): boolean {
  if (!wanted) return !!asked;
  return asked ? !!given && joins.length > 0 && !joining : againAt <= now;
}

/** The first of them, as many as one request may name. */
function thatFit(topics: ReadonlyArray<[string, Standing]>): ReadonlyArray<[string, Standing]> {
  let length = 0;
  return topics.slice(0, MOST_NAMES).filter(([name, { place }]) => {
    length += name.length + (place?.length ?? 0) + ENTRY_LENGTH;
    return length < BODY_LENGTH;
  });
}

/** In the URL where it holds them. */
function questionOf(topics: readonly Wish[]): Question {
  const names = topics.filter((topic) => typeof topic === 'string');
  return names.length === topics.length && encodeURIComponent(names.join('&topic=')).length < URL_LENGTH
    ? { query: { topic: names } }
    : { body: { topics } };
}
