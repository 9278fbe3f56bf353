/** Which topics a request to a hub names, in its query or in its body. */
import { BadRequestException } from '@nestjs/common';
import type { TopicChanges, WantedTopic } from '@sse-channels/engine';

/** `?topic=orders/42&topic=prices/ACME` */
export function topicsInQuery(query: URLSearchParams): WantedTopic[] {
  return distinct(query.getAll('topic').map((name) => ({ name })));
}

/**
 * `{ "topics": ["orders/42", { "topic": "prices/ACME", "lastEventId": "…" }] }`
 * @throws BadRequestException naming what is wrong
 */
export function topicsInBody(body: unknown): WantedTopic[] {
  return wantedIn(propertiesOf(body, ['topics'])['topics'] ?? [], 'topics');
}

/**
 * `{ "add": [as above], "remove": ["orders/42"] }`
 * @throws BadRequestException naming what is wrong
 */
export function changesInBody(body: unknown): TopicChanges {
  const { add = [], remove = [] } = propertiesOf(body, ['add', 'remove']);
  if (!Array.isArray(remove) || remove.some((name) => typeof name !== 'string')) {
    throw new BadRequestException('"remove" is a list of names of topics.');
  }
  return { add: wantedIn(add, 'add'), remove: remove as string[] };
}

function wantedIn(list: unknown, property: string): WantedTopic[] {
  if (!Array.isArray(list)) throw new BadRequestException(`"${property}" is a list of topics.`);
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
