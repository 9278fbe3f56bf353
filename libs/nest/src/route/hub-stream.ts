/** A stream of a hub that is open: topics are added to it and taken from it, one change after the other. */
import {
  FOR_EVER,
  type ChangeableStream,
  type ChannelRegistry,
  type FrameForm,
  type Hub,
  type Observer,
  type Party,
  type RefusedTopic,
  type TopicChangesBy,
  type TopicsChanged,
  type TopicSource,
  type WantedTopic,
} from '@sse-channels/engine';
import { encodeFrame, PROTOCOL_VERSION, type OpenData, type OpenTopic } from '@sse-channels/protocol';
import { noSuchTopic, type Asking, type GivenTopic, type HubTopics, type TopicAnswers } from './hub-topics.js';
import { errorDataOf } from './refusal.js';

/** So many changes of one stream may be under way; whoever waits for each answer has one. */
const MOST_CHANGES = 16;

/** What such a stream is made of. */
export interface HubStreamParts {
  readonly hub: Hub;
  readonly topics: HubTopics;
  /** Where the application's topics are looked for. */
  readonly channels: ChannelRegistry;
  readonly observer: Observer;
  readonly source: TopicSource;
  /** The request that opened it. */
  readonly asking: Asking;
  readonly party: Party;
  readonly form: FrameForm;
  readonly heartbeatMs: number;
  /** The most topics. */
  readonly most: number;
  /** Whether its client may change it. */
  readonly dynamic: boolean;
}

export class HubStream implements ChangeableStream {
  readonly #parts: HubStreamParts;
  #changing: Promise<unknown> = Promise.resolve();
  #changes = 0;

  constructor(parts: HubStreamParts) {
    this.#parts = parts;
  }

  /** Where too many changes are under way nothing is changed for a client, and all that was to be added is refused for now. */
  async change(changes: TopicChangesBy): Promise<TopicsChanged | null> {
    const isClient = changes.by === 'client';
    if (isClient && !this.#parts.dynamic) return null;
    if (isClient && this.#changes >= MOST_CHANGES) {
      const why = {
        status: 429,
        message: 'Too many changes of this stream are under way; try again later.',
        comeBack: true,
      };
      return { added: [], removed: [], refused: changes.add.map(({ name }) => ({ topic: name, ...why })) };
    }
    this.#changes += 1;
    const changing = this.#changing.then(() => this.#change(changes)).finally(() => (this.#changes -= 1));
    this.#changing = changing.catch(() => undefined);
    return changing;
  }

  async #change({ add, remove, by }: TopicChangesBy): Promise<TopicsChanged> {
    const { source, topics, asking, most } = this.#parts;
    const removed = remove.filter((topic) => source.remove(topic, { reason: 'done', comeBack: false }));
    const wanted = add.filter(({ name }) => !source.has(name));
    // Who names a place for a topic that the stream has wants it from there.
    const again =
      by === 'client' ? add.filter(({ name, lastEventId }) => lastEventId !== undefined && source.has(name)) : [];
    const room = Math.max(0, most - source.size);
    const refused = refusedFor(most, wanted.slice(room));
    const asked = [...wanted.slice(0, room), ...again];
    const answers = by === 'client' ? await topics.ask(asked, asking) : this.#give(asked);
    // What the stream carries of the application's own accord has no route to ask.
    refused.unshift(
      ...answers.refused.filter(({ topic, status }) => status !== 404 || !source.tellOf(topic, this.#opening)),
    );
    const added: string[] = [];
    for (const given of answers.given) {
      const { name } = given.request.topic;
      try {
        if (await this.#add(given)) added.push(name);
        else source.tellOf(name, this.#opening);
      } catch (error) {
        const told = errorDataOf(error);
        if (told.status === 500) this.#parts.observer.failed?.(error, 'adding a topic to a stream that is open');
        refused.push({ topic: name, ...told });
      }
    }
    return { added, removed, refused };
  }

  /** What the application names is given without a question. */
  #give(wanted: readonly WantedTopic[]): TopicAnswers {
    const given: GivenTopic[] = [];
    const refused: RefusedTopic[] = [];
    for (const { name } of wanted) {
      const topic = [...this.#parts.channels].map((channel) => channel.topicNamed(name)).find((one) => one !== null);
      if (topic == null) refused.push(noSuchTopic(name));
      else given.push({ request: { topic }, grant: FOR_EVER });
    }
    return { given, refused };
  }

  #add({ request, grant }: GivenTopic): Promise<boolean> {
    const { hub, source, party, form } = this.#parts;
    return hub.add(source, request, grant, this.#opening, { ...party, form });
  }

  readonly #opening = (topic: OpenTopic, id: string): Buffer => {
    const { asking, heartbeatMs } = this.#parts;
    const data: OpenData = { protocol: PROTOCOL_VERSION, connection: asking.request.id, heartbeatMs, topics: [topic] };
    return Buffer.from(encodeFrame({ id, event: '$open', data: JSON.stringify(data) }));
  };
}

/** The answer for topics that a stream has no room for. */
export function refusedFor(most: number, surplus: readonly WantedTopic[]): RefusedTopic[] {
  const message = `One stream carries ${most} topics at most ("maxTopics" of the hub, "limits.topicsPerConnection"); let another go first.`;
  return surplus.map(({ name }) => ({ topic: name, status: 400, message, comeBack: false }));
}
