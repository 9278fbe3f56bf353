/** Where the records of a topic lie in NATS: a subject with a token for each segment of its name, and the way back. */
import { createHash } from 'node:crypto';

/** A longer token is replaced by its hash: a subject must fit a line of the protocol, 4 KB by default, with many tokens. */
const MAX_TOKEN = 128;
/** What a subject may be long, with its prefix: the rest of the line is for the reply subject and the sizes. */
const MAX_SUBJECT = 3_500;
/** What topic names are made of, and tokens may hold as it is: neither `.`, `*`, `>` nor white space. */
const PLAIN_NAME = /^[A-Za-z0-9_%-]+(?:\/[A-Za-z0-9_%-]+)*$/;
const PLAIN_TOKEN = /^[A-Za-z0-9_%-]+$/;

export class TopicSubjects {
  /** What a stream keeps. */
  readonly log: string;
  /** What nodes listen to. */
  readonly live: string;
  /** The stream's marks. */
  readonly marks: string;

  /** @param prefix tokens of letters, digits, `-` and `_` */
  constructor(readonly prefix: string) {
    this.log = `${prefix}.log.`;
    this.live = `${prefix}.live.`;
    this.marks = `${prefix}.marks`;
  }

  /**
   * The subject on which a topic is kept; of a filter, a subject with a wildcard.
   * @returns null for a name with so many segments that no subject can hold it
   */
  ofLog(filter: string): string | null {
    return within(this.log + tokensOf(filter));
  }

  /** The subject on which a topic's records come live. */
  ofLive(filter: string): string | null {
    return within(this.live + tokensOf(filter));
  }

  /** Whether the subject says the topic's name, so that a record need not. */
  tells(topic: string): boolean {
    return topic.length <= MAX_TOKEN || topic.split('/').every((segment) => encodeToken(segment).length <= MAX_TOKEN);
  }

  /** The topic's name from its subject, of the log or live; null where a part of it is a hash, or for a subject of somebody else. */
  topicOf(subject: string): string | null {
    const start = subject.startsWith(this.log)
      ? this.log.length
      : subject.startsWith(this.live)
        ? this.live.length
        : null;
    if (start === null || subject.includes('#', start)) return null;
    const name = subject.slice(start).replaceAll('.', '/');
    return name.includes('=') ? name.split('/').map(decodeToken).join('/') : name;
  }
}

function within(subject: string): string | null {
  return subject.length > MAX_SUBJECT ? null : subject;
}

function tokensOf(filter: string): string {
  if (filter.length <= MAX_TOKEN && PLAIN_NAME.test(filter)) return filter.replaceAll('/', '.');
  return filter
    .split('/')
    .map((segment) => {
      if (segment === '*') return segment;
      const token = encodeToken(segment);
      if (token.length <= MAX_TOKEN) return token;
      // The hash is of the segment alone, so that filters find it.
      return `#${createHash('sha256').update(segment).digest('base64url')}`;
    })
    .join('.');
}

/** Every byte that a token cannot hold as `=` and two digits; a lone `=` is the empty segment. Neither `=` nor `#` is in a plain token. */
function encodeToken(segment: string): string {
  if (PLAIN_TOKEN.test(segment)) return segment;
  if (segment === '') return '=';
  let token = '';
  for (const byte of Buffer.from(segment)) {
    const character = String.fromCharCode(byte);
    token += PLAIN_TOKEN.test(character) ? character : `=${byte.toString(16).padStart(2, '0')}`;
  }
  return token;
}

function decodeToken(token: string): string {
  if (token === '=' || !token.includes('=')) return token === '=' ? '' : token;
  const bytes: number[] = [];
  for (let index = 0; index < token.length; index += 1) {
    if (token[index] !== '=') bytes.push(token.charCodeAt(index));
    else {
      bytes.push(Number.parseInt(token.slice(index + 1, index + 3), 16));
      index += 2;
    }
  }
  return Buffer.from(bytes).toString();
}
