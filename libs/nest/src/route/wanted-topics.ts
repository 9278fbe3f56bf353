/** Which topics a request to a hub names, in its query or in its body. */
import { BadRequestException } from '@nestjs/common';
import type { TopicChanges, WantedTopic } from '@sse-channels/engine';

/** So many may be named for a stream of however few: what it does not carry is refused name by name, and hurts no other. */
const MIN_NAMES = 1_000;
/** And no more than these for one without a limit. */
const MAX_NAMES = 100_000;

/** How many names of topics a request may hold for a stream that carries so many at most. */
export function namesFor(most: number): number {
  return Math.min(Math.max(most, MIN_NAMES), MAX_NAMES);
}

/**
 * `?topic=orders/42&topic=prices/ACME`
 * @param names how many there may be
 * @throws BadRequestException for more
 */
export function topicsInQuery(query: URLSearchParams, names: number): WantedTopic[] {
  const all = query.getAll('topic');
  checkCount(all.length, names);
  return distinct(all.map((name) => ({ name })));
}

/**
 * `{ "topics": ["orders/42", { "topic": "prices/ACME", "lastEventId": "…" }] }`
 * @param names how many there may be
 * @throws BadRequestException naming what is wrong
 */
export function topicsInBody(body: unknown, names: number): WantedTopic[] {
  return wantedIn(propertiesOf(body, ['topics'])['topics'] ?? [], 'topics', names);
}

/**
 * `{ "add": [as above], "remove": ["orders/42"] }`
 * @param names how many there may be in each
 * @throws BadRequestException naming what is wrong
 */
export function changesInBody(body: unknown, names: number): TopicChanges {
  const { add = [], remove = [] } = propertiesOf(body, ['add', 'remove']);
  checkCount(Array.isArray(remove) ? remove.length : 0, names);
  if (!Array.isArray(remove) || remove.some((name) => typeof name !== 'string')) {
    throw new BadRequestException('"remove" is a list of names of topics.');
  }
  return { add: wantedIn(add, 'add', names), remove: remove as string[] };
}

/** Before anything of them is looked at. */
function checkCount(count: number, names: number): void {
  if (count > names) {
    throw new BadRequestException(
      `One request names ${names} topics at most, not ${count}; add the others when the stream is open.`,
    );
  }
}

function wantedIn(list: unknown, property: string, names: number): WantedTopic[] {
  if (!Array.isArray(list)) throw new BadRequestException(`"${property}" is a list of topics.`);
  checkCount(list.length, names);
  return distinct(
    list.map((entry: unknown): WantedTopic => {
      if (typeof entry === 'string') return { name: entry };
      const { topic, lastEventId } = propertiesOf(entry, ['topic', 'lastEventId']);
      if (typeof topic !== 'string') {
        throw new BadRequestException(
          `Each of "${property}" is a topic's name, or an object with the name as "topic".`,
        );
      }
      if (lastEventId === undefined) return { name: topic };
      if (lastEventId !== null && typeof lastEventId !== 'string') {
        throw new BadRequestException('"lastEventId" is a cursor, or null.');
      }
      return { name: topic, lastEventId };
    }),
  );
}

function propertiesOf(value: unknown, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BadRequestException(
      `The body is JSON: an object with ${known.map((name) => `"${name}"`).join(' and ')}.`,
    );
  }
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown === undefined) return value as Record<string, unknown>;
  throw new BadRequestException(
    `There is no "${unknown}"; known are ${known.map((name) => `"${name}"`).join(' and ')}.`,
  );
}

function distinct(topics: readonly WantedTopic[]): WantedTopic[] {
  return [...new Map(topics.map((topic) => [topic.name, topic])).values()];
}
