/** The seal of cursors: a signature that binds each to one topic or to streams of several, and where asked to one principal, so that none can be made or lent. */
import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { parseCursor, SseChannelsError, type Cursor } from '@sse-channels/protocol';

/** How cursors are signed. */
export interface CursorSealOptions {
  /** At least 32 bytes, the same on all nodes. Of several the first signs, and what any of them signed is taken. */
  readonly secret: string | readonly string[];
  /**
   * What a cursor is good for: `topic`, the topic of the stream that it came from; `principal`, that topic for that principal,
   * whose frames are then no longer shared. One of a stream of several topics is good for any topic: it is the client's place in all.
   * @default 'topic'
   */
  readonly bindTo?: 'topic' | 'principal';
}

const SIGNATURE_BYTES = 12;
/** Of base64url, all bits of each in use: a signature can be written in one way only. */
const SIGNATURE_LENGTH = 16;

/** What a seal is for; null: for whichever topics its bearer may follow, as the cursors of a stream of several are. */
export type SealedTopic = string | { readonly name: string } | null;

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
   * @param topic what it is good for; null: for the streams of several topics, whichever they have
   * @param principal needed with `bindTo: 'principal'`: who the client is; null where nobody is known
   * @throws SseChannelsError `INVALID_CURSOR` for what is no cursor, `INVALID_OPTION` where the principal is missing
   */
  seal(cursor: Cursor, topic: SealedTopic, principal?: string | null): Cursor {
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
    return `${cursor}~${this.#sign(key, cursor, topic, principal ?? null)}`;
  }

  /**
   * The server's cursor in one that a client came with; null for one that was signed here neither for any of these topics nor for
   * a stream of several, and for this principal where cursors are bound to one.
   */
  open(sealed: Cursor, topics: readonly SealedTopic[], principal: string | null): Cursor | null {
    if (this.bindTo === null) return sealed;
    // As in `parseCursor`: types promise text, requests do not.
    if (typeof sealed !== 'string') return null;
    const end = sealed.lastIndexOf('~');
    const cursor = sealed.slice(0, end);
    // What is no cursor is not worth a signature; and of what is too long for one, `parseCursor` looks at nothing.
    if (parseCursor(cursor) === null) return null;
    const given = Buffer.from(sealed.slice(end + 1));
    if (given.length !== SIGNATURE_LENGTH) return null;
    const fits = (topic: SealedTopic): boolean =>
      this.#keys.some((key) => timingSafeEqual(Buffer.from(this.#sign(key, cursor, topic, principal)), given));
    return fits(null) || topics.some(fits) ? cursor : null;
  }

  #sign(key: KeyObject, cursor: Cursor, topic: SealedTopic, principal: string | null): string {
    // Neither a cursor nor a topic's name can hold a NUL, nor is a name ever empty: no two messages are the same text.
    const message = `${cursor}\0${typeof topic === 'string' ? topic : (topic?.name ?? '')}`;
    const whole = this.bindTo === 'principal' && principal !== null ? `${message}\0${principal}` : message;
    return createHmac('sha256', key).update(whole).digest().toString('base64url', 0, SIGNATURE_BYTES);
  }
}
