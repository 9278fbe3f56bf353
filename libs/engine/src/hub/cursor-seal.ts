/** The seal of cursors: a signature that binds each to one topic, or to one topic and one principal, so that none can be made or lent. */
import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { parseCursor, SseChannelsError, type Cursor } from '@sse-channels/protocol';

/** How cursors are signed. */
export interface CursorSealOptions {
  /** At least 32 bytes, the same on all nodes. Of several the first signs, and what any of them signed is taken. */
  readonly secret: string | readonly string[];
  /**
   * What a cursor is good for: `topic`, the topic of the stream that it came from; `principal`, that topic for that principal,
   * whose frames are then no longer shared.
   * @default 'topic'
   */
  readonly bindTo?: 'topic' | 'principal';
}

const SIGNATURE_BYTES = 12;
/** Of base64url, all bits of each in use: a signature can be written in one way only. */
const SIGNATURE_LENGTH = 16;

/** Signs the cursors of one application; without options it leaves them as they are. */
export class CursorSeal {
  /** What a signature binds a cursor to; null where cursors are not signed. */
  readonly bindTo: 'topic' | 'principal' | null;
  readonly #keys: readonly KeyObject[];

  constructor(options: CursorSealOptions | null) {
    this.bindTo = options === null ? null : (options.bindTo ?? 'topic');
    this.#keys = [options?.secret ?? []].flat().map((secret) => createSecretKey(secret, 'utf8'));
  }

  /**
   * Makes a cursor of the server's, as `publish()` and `bus.stream()` give it, one that a client may come with.
   * @param principal needed with `bindTo: 'principal'`: who the client is; null where nobody is known
   * @throws SseChannelsError `INVALID_CURSOR` for what is no cursor, `INVALID_OPTION` where the principal is missing
   */
  seal(cursor: Cursor, topic: string | { readonly name: string }, principal?: string | null): Cursor {
    const [key] = this.#keys;
    if (key === undefined) return cursor;
    if (parseCursor(cursor) === null) {
      throw new SseChannelsError(
        'INVALID_CURSOR',
        `${JSON.stringify(cursor)} is no cursor of the server's; seal what publish() resolves to, once.`,
      );
    }
    if (this.bindTo === 'principal' && principal === undefined) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        'seal needs the principal that the cursor is for, since cursor.bindTo is "principal"; pass null where nobody is known.',
      );
    }
    const name = typeof topic === 'string' ? topic : topic.name;
    return `${cursor}~${this.#sign(key, cursor, name, principal ?? null)}`;
  }

  /**
   * The server's cursor in one that a client came with; null for one that was not signed here for any of these topics, and for
   * this principal where cursors are bound to one.
   */
  open(
    sealed: Cursor,
    topics: ReadonlyArray<string | { readonly name: string }>,
    principal: string | null,
  ): Cursor | null {
    if (this.bindTo === null) return sealed;
    // As in `parseCursor`: types promise text, requests do not.
    if (typeof sealed !== 'string') return null;
    const end = sealed.lastIndexOf('~');
    const cursor = sealed.slice(0, end);
    // What is no cursor is not worth a signature; and of what is too long for one, `parseCursor` looks at nothing.
    if (parseCursor(cursor) === null) return null;
    const given = Buffer.from(sealed.slice(end + 1));
    if (given.length !== SIGNATURE_LENGTH) return null;
    const fits = topics.some((topic) => {
      const name = typeof topic === 'string' ? topic : topic.name;
      return this.#keys.some((key) => timingSafeEqual(Buffer.from(this.#sign(key, cursor, name, principal)), given));
    });
    return fits ? cursor : null;
  }

  #sign(key: KeyObject, cursor: Cursor, topic: string, principal: string | null): string {
    // Neither a cursor nor a topic's name can hold a NUL: no two messages are the same text.
    const message = `${cursor}\0${topic}`;
    const whole = this.bindTo === 'principal' && principal !== null ? `${message}\0${principal}` : message;
    return createHmac('sha256', key).update(whole).digest().toString('base64url', 0, SIGNATURE_BYTES);
  }
}
