/** One connection for many topics: which it carries, where each of them stands, and what is added and taken out while it is open. */
import type { ClosingData, ErrorData, LiveData, OpenData, SseChannelsError } from '@sse-channels/protocol';
import type { ConnectionOptions } from '../connection/connection-options.js';
import { createConnection } from '../connection/connection.js';
import type { ConnectionState, StateReason } from '../connection/connection-state.js';
import type { Receiver } from '../connection/receiver.js';
import { beginningOf, isOf, JSON_TYPE } from '../connection/end.js';
import { failureOf, StreamError } from '../connection/stream-error.js';
import type { Question } from '../connection/stream-request.js';

/** More topics than a URL of this length holds go in a body. */
const URL_LENGTH = 1_800;
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

interface Standing {
  wanted: boolean;
  /** The stream that is open carries it, or was asked to. */
  asked: boolean;
  /** The stream that is open said so. */
  given: boolean;
  /** It was taken out, and the stream has not said so yet. */
  leaving: boolean;
  /** Undefined: the stream's cursor covers it. Null: at no place yet. Else its own, behind the stream's. */
  place: string | null | undefined;
  /** Why it is not given. */
  reason: StateReason;
}

export function createTopicStream(
  urlOf: () => string,
  options: ConnectionOptions,
  listener: TopicStreamListener,
): TopicStream {
  const topics = new Map<string, Standing>();
  /** Where topics stood that an earlier life of the page listened to. */
  let kept: Partial<Record<string, string>> = {};
  /** The stream's id, by which it is changed; undefined where it cannot be. */
  let id: string | undefined;
  /** What the cursor covers was asked for. */
  let begun = false;
  let changing = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const connection = createConnection(urlOf, options, {
    onError: listener.onError,
    onState(state) {
      if (state.status !== 'open') id = undefined;
      if (state.status === 'closed') clearTimeout(timer);
      listener.onState(state);
    },
    ask() {
      id = undefined;
      for (const [name, topic] of topics) {
        if (!topic.wanted) topics.delete(name);
        // A cursor that an application has brought is for the topics that it begins with.
        if (!begun && topic.place === null && connection.cursor !== '') topic.place = undefined;
        topic.asked = true;
        topic.leaving = false;
      }
      begun = true;
      const covers = Array.from(topics.values()).some(({ place }) => place === undefined);
      if (!covers) connection.cursor = '';
      return questionOf(
        Array.from(topics, ([topic, { place }]) =>
          place === undefined || (place === null && !covers) ? topic : { topic, lastEventId: place },
        ),
      );
    },
    place() {
      const places = Array.from(topics.keys(), (name) => [name, cursorOf(name)] as const);
      return JSON.stringify(Object.fromEntries(places.filter(([, place]) => place !== '')));
    },
    restore(text) {
      if (text === '') return;
      try {
        kept = JSON.parse(text) as typeof kept;
      } catch (error) {
        return listener.onError(failureOf('storage', error));
      }
      for (const [name, topic] of topics) {
        topic.place ??= keptPlaceOf(name);
        // One that several share goes as the stream's.
        if (connection.cursor === '') connection.cursor = topic.place ?? '';
        if (topic.place === connection.cursor) topic.place = undefined;
      }
      begun = true;
    },
    receive(event) {
      const { name, data, topic, ownCursor } = event;
      const about = topics.get(topic ?? (data as Partial<LiveData> | null)?.topic ?? '');
      if (name === '$open') begin(data as OpenData);
      else if (name === '$error') refuse(data as Refusal);
      else if (name === '$closing') end(data as Ending);
      else if (about !== undefined && name === '$live') about.place = undefined;
      const handled = listener.receive(event);
      if (about === undefined || ownCursor === undefined) return handled;
      const move = (): undefined => void (about.place = ownCursor);
      return handled === undefined ? move() : handled.then(move);
    },
  });

  return {
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
      if (state.status !== 'open' || topic === undefined || topic.given) return state;
      return { ...state, status: topic.reason === 'started' ? 'connecting' : 'stale', reason: topic.reason };
    },
    add(name, place) {
      const topic = topics.get(name);
      changeIn(0);
      // Taken out and in again before anybody was told, it stays.
      if (topic?.given === true && !topic.leaving) return (topic.wanted = true);
      topics.set(name, {
        asked: false,
        given: false,
        leaving: topic?.leaving === true,
        wanted: true,
        place: place ?? keptPlaceOf(name),
        reason: 'started',
      });
      return false;
    },
    remove(name) {
      const topic = topics.get(name);
      if (topic === undefined) return;
      topic.wanted = false;
      changeIn(0);
    },
    wake: connection.wake,
    close: connection.close,
  };

  /** Each is gone on from once. */
  function keptPlaceOf(name: string): string | null {
    const place = kept[name] ?? null;
    delete kept[name];
    return place;
  }

  function cursorOf(name: string): string {
    const { place = connection.cursor } = topics.get(name) ?? { place: '' };
    return place ?? '';
  }

  function begin({ connection: stream, topics: opened }: OpenData): void {
    const isNew = stream !== id;
    id = stream;
    if (isNew) for (const topic of topics.values()) topic.given = false;
    for (const { topic: name, behind } of opened) {
      const topic = topics.get(name);
      if (topic === undefined || topic.leaving) continue;
      topic.given = true;
      if (behind !== true) topic.place = undefined;
    }
    changeIn(0);
    for (const name of topics.keys()) listener.onTopic(name);
  }

  function refuse({ topic: name, status, message, comeBack }: Refusal): void {
    const topic = topics.get(name);
    // What every stream of the hub carries it may carry though it was refused.
    if (topic === undefined || topic.given) return;
    if (comeBack) return later(name, topic, 'refused');
    topics.delete(name);
    listener.onEnd(name, 'refused', new StreamError('STREAM_REFUSED', `${name}: ${message}`, { status }));
  }

  function end({ topic: name, reason, comeBack }: Ending): void {
    const topic = topics.get(name);
    if (topic === undefined) return;
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
    topic.given = topic.asked = false;
    topic.reason = reason;
    // The stream goes on without it, and its cursor with the stream.
    if (topic.place === undefined) topic.place = connection.cursor;
    listener.onTopic(name);
    changeIn(AGAIN_MS * (0.5 + Math.random()));
  }

  function changeIn(delayMs: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => void change(), delayMs);
  }

  /** Brings what the stream carries to what is wanted. */
  async function change(): Promise<void> {
    if (changing) return;
    const wanted = Array.from(topics.values()).some((topic) => topic.wanted);
    if (!wanted) return connection.rest();
    connection.start();
    const added = Array.from(topics).filter(([, topic]) => topic.wanted && !topic.asked);
    const removed = Array.from(topics).filter(([, topic]) => !topic.wanted && topic.asked);
    if (connection.state.status !== 'open' || added.length + removed.length === 0) return;
    if (connection.state.transport === 'long-poll') return connection.renew();
    if (id === undefined) return;
    const own = id;
    for (const [, topic] of added) topic.asked = true;
    for (const [, topic] of removed) {
      topic.asked = false;
      topic.leaving = true;
    }
    changing = true;
    const add = added.map(([topic, { place = null }]) => ({ topic, lastEventId: place }));
    const remove = removed.map(([name]) => name);
    const [status, answer] = await ask({ path: `/${own}`, body: { add, remove } });
    changing = false;
    // Another stream was asked for everything.
    if (own === id) {
      if (status === 200) (answer as Changed).refused.forEach(refuse);
      else if (status === 400 || status === 401 || status === 403) {
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

type Refusal = ErrorData & { readonly topic: string };
type Changed = { readonly refused: readonly Refusal[] };
type Ending = ClosingData & { readonly topic: string };
type Wish = string | { readonly topic: string; readonly lastEventId: string | null };

/** In the URL where it holds them. */
function questionOf(topics: readonly Wish[]): Question {
  const names = topics.filter((topic) => typeof topic === 'string');
  return names.length === topics.length && encodeURIComponent(names.join('&topic=')).length < URL_LENGTH
    ? { query: { topic: names } }
    : { body: { topics } };
}
