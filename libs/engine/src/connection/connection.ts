/** A connection: one response held open, from `$open` to its one end. */
import {
  encodeFrame,
  FINAL_CURSOR,
  PROTOCOL_VERSION,
  type ClosingData,
  type Cursor,
  type EndReason,
  type ErrorData,
  type OpenData,
} from '@sse-channels/protocol';
import type { ConnectionInfo } from '../directory/connection-directory.js';
import type { ChangeableStream } from '../directory/topic-changes.js';
import { FOR_EVER, type Grant, type Review } from './grant.js';
import type { PeerState, Sink, SinkListener } from './sink.js';
import { BATCH_BYTES, type SinkOwner, type Source } from './source.js';

const QUIET_HEARTBEAT = Buffer.from(':\n\n');
const UNKNOWN_PEER: PeerState = { address: null, writtenBytes: 0, waitingBytes: 0 };

/** Whom a connection counts for. */
export interface Party {
  readonly principal: string | null;
  readonly address: string | null;
}

export interface ConnectionOptions {
  readonly id: string;
  /** The longest silence. */
  readonly heartbeatMs: number;
  /** What the client is told to wait before it reconnects, jittered already. */
  readonly retryMs: number;
  /** What it may stay open by: when that runs out it ends as `expired`, when it is withdrawn as `revoked`. @default for ever */
  readonly grant?: Grant;
  /** Whom it counts for. @default nobody */
  readonly party?: Party;
  /** The way to change its topics while it is open. @default there is none */
  readonly stream?: ChangeableStream;
}

/** One for all of whom nothing is known. */
export const NOBODY: Party = { principal: null, address: null };

/** What a connection tells its hub. */
export interface ConnectionListener {
  /** It ended, for one reason, once. Its sink may still be sending what was written. */
  onEnd(connection: Connection, reason: EndReason, error: unknown): void;
  /** Its sink is closed; nothing of it is left. */
  onClose(connection: Connection): void;
  /** What a client may know of an error. */
  describeError(error: unknown): ErrorData;
}

/** What else a `$closing` may need. */
interface Closing {
  readonly retryMs?: number | undefined;
  readonly error?: unknown;
  /** A frame that goes out before it. */
  readonly before?: string;
}

export class Connection implements SinkListener, SinkOwner {
  // What a delivery touches comes first: fields lie in the order in which they are declared.
  readonly #sink: Sink;
  readonly #source: Source;
  #writing = false;
  #ended = false;
  #writable = true;
  /** By the clock that is never set: the wall clock may step back, and the heartbeats would stop. */
  #lastWriteAt = 0;
  #ending: { readonly reason: EndReason; readonly comeBack: boolean; readonly retryMs?: number | undefined } | null =
    null;

  readonly id: string;
  readonly heartbeatMs: number;
  readonly party: Party;
  readonly #retryMs: number;
  readonly #listener: ConnectionListener;
  #grant: Grant;
  /** When the grant is looked at next, by the clock that is never set; Infinity while it is being asked, or never is. */
  #reviewAt = Infinity;
  #openedAt = 0;

  constructor(sink: Sink, source: Source, options: ConnectionOptions, listener: ConnectionListener) {
    this.id = options.id;
    this.heartbeatMs = options.heartbeatMs;
    this.#sink = sink;
    this.#source = source;
    this.#retryMs = options.retryMs;
    this.party = options.party ?? NOBODY;
    this.#grant = options.grant ?? FOR_EVER;
    this.#listener = listener;
  }

  /** The names of its topics. */
  get topics(): string[] {
    return this.#source.topics.map(({ topic }) => topic);
  }

  /** What is known of it now. */
  describe(): ConnectionInfo {
    const { address, writtenBytes, waitingBytes } = this.#sink.peerState ?? UNKNOWN_PEER;
    return {
      id: this.id,
      principal: this.party.principal,
      address: this.party.address ?? address,
      topics: this.topics,
      ageMs: Math.trunc(performance.now()) - this.#openedAt,
      cursor: this.#source.cursor,
      lagEvents: this.#source.lagEvents ?? 0,
      writtenBytes,
      waitingBytes,
    };
  }

  /** Writes `$open` and begins. */
  open(): void {
    this.#openedAt = Math.trunc(performance.now());
    const { review } = this.#grant;
    // Those that came together are not asked about together.
    if (review != null) this.#reviewAt = this.#openedAt + review.everyMs * (1 - Math.random() / 2);
    const data: OpenData = {
      protocol: PROTOCOL_VERSION,
      connection: this.id,
      heartbeatMs: this.heartbeatMs,
      topics: this.#source.topics,
    };
    this.#sink.listen(this);
    // The peer had left.
    if (this.#ended) return;
    const cursor = this.#source.cursor;
    this.#write(
      Buffer.from(
        encodeFrame({
          retry: this.#retryMs,
          ...(cursor === null ? {} : { id: cursor }),
          event: '$open',
          data: JSON.stringify(data),
        }),
      ),
    );
    this.#source.start(this);
    this.wake();
  }

  onDrain(): void {
    this.#writable = true;
    this.#source.letGo?.();
    if (!this.#ended) this.#source.resume?.();
    this.wake();
  }

  onFull(): void {
    this.#sink.onFull?.();
    this.#writable = false;
    this.#source.letGo?.();
  }

  onClose(): void {
    this.#finish('client-left');
    this.#listener.onClose(this);
  }

  onStall(): void {
    this.#finish('slow');
    this.#sink.destroy();
  }

  onEnough(): void {
    this.end('answered');
  }

  /** Sends what is due, as far as the peer takes it. */
  wake(): void {
    // A source may wake its connection while it is being asked.
    if (this.#writing || this.#ended) return;
    this.#writing = true;
    this.#source.letGo?.();
    if (!this.#writable && !this.#answering) this.#source.hold?.();
    try {
      while (this.#writable) {
        const bytes = this.#source.next(BATCH_BYTES);
        if (bytes === null) break;
        this.#write(bytes);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#writing = false;
    }
    const outcome = this.#source.outcome;
    // Who does not read cannot be waited for.
    if (outcome?.reason === 'slow') return this.#close('slow', true);
    // An answer that is full is sent as it is.
    if (!this.#writable && !this.#answering) return;
    if (outcome?.reason === 'failed') this.#fail(outcome.error);
    else if (outcome?.reason === 'done') this.#close('done', false);
    else if (this.#ending !== null && (!this.#source.pending || !this.#writable)) {
      this.#close(this.#ending.reason, this.#ending.comeBack, this.#ending);
    } else if (this.#writable && this.#ending === null) this.#source.serve?.(this.#sink);
  }

  /**
   * Called by the hub's one timer: ends what has expired, asks whether the grant still holds, writes a heartbeat where nothing
   * else was written. While it is being asked no heartbeat is written.
   */
  tick(now: number): void {
    if (this.#ended) return;
    this.#source.tick?.(now);
    const { endsAt, review } = this.#grant;
    if (endsAt !== null && now >= endsAt) return this.end('expired');
    if (review != null) {
      if (performance.now() >= this.#reviewAt) void this.#review(review);
      if (this.#reviewAt === Infinity) return;
    }
    if (!this.#writable || !this.#quiet) return;
    // What its source writes by itself is not due here.
    if (this.#source.servedAt === undefined) this.wake();
    if (this.#ended || !this.#writable || !this.#quiet) return;
    this.#write(this.#heartbeat());
  }

  /**
   * Ends the connection with `$closing`: as `drained` after what is due, as `answered` after what is due and without a word, for any
   * other reason at once. Does nothing when it is ending already.
   * @param comeBack whether the client should reconnect; when not, its next try is answered 204
   * @param retryMs how long it should wait before that; as in `$open` when absent
   */
  end(reason: EndReason, { comeBack = true, retryMs }: { comeBack?: boolean; retryMs?: number } = {}): void {
    if (this.#ended || this.#ending !== null) return;
    // Whose grant has run out gets nothing more; what was due is behind the client's cursor, if it may come back.
    if (reason !== 'drained' && reason !== 'answered') return this.#close(reason, comeBack, { retryMs });
    this.#ending = { reason, comeBack, retryMs };
    this.wake();
  }

  /** Closes the sink at once, whatever is still to be sent. */
  destroy(): void {
    this.#finish(this.#ending?.reason ?? 'slow');
    this.#sink.destroy();
  }

  async #review(review: Review): Promise<void> {
    this.#reviewAt = Infinity;
    try {
      const endsAt = await review.ask();
      if (endsAt === false) return this.end('revoked');
      this.#grant = { endsAt, review };
      this.#reviewAt = performance.now() + review.everyMs;
    } catch (error) {
      this.#fail(error);
    }
  }

  get #answering(): boolean {
    return this.#ending?.reason === 'answered';
  }

  get #quiet(): boolean {
    const lastAt = Math.max(this.#lastWriteAt, this.#source.servedAt ?? 0);
    return performance.now() - lastAt >= this.heartbeatMs;
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    const data = this.#listener.describeError(error);
    // One write with `$closing`: a sink that is full after the first would have to take the second all the same.
    this.#close('failed', data.comeBack, {
      error,
      before: encodeFrame({ event: '$error', data: JSON.stringify(data) }),
    });
  }

  #close(reason: EndReason, comeBack: boolean, { retryMs, error, before = '' }: Closing = {}): void {
    if (this.#ended) return;
    // What is written now says the end, whatever the sink thinks of it.
    this.#ending = { reason, comeBack };
    const data: ClosingData = { reason, comeBack };
    const closing = encodeFrame({
      ...(comeBack ? { retry: retryMs ?? this.#retryMs } : { id: FINAL_CURSOR }),
      event: '$closing',
      data: JSON.stringify(data),
    });
    // Who asks again stands where it was given everything, what a filter left out included.
    this.#write(reason === 'answered' ? this.#heartbeat() : Buffer.from(before + closing));
    this.#finish(reason, error);
    this.#sink.end();
  }

  #finish(reason: EndReason, error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#source.close();
    this.#listener.onEnd(this, reason, error);
  }

  #heartbeat(): Buffer {
    const cursor = this.#source.cursor;
    return cursor === null ? QUIET_HEARTBEAT : heartbeatAt(cursor);
  }

  #write(bytes: Buffer): void {
    if (this.#ended) return;
    // A whole number needs no object of its own.
    this.#lastWriteAt = Math.trunc(performance.now());
    this.#writable = this.#sink.write(bytes);
    if (!this.#writable) this.#source.letGo?.();
  }
}

let lastCursor: Cursor | undefined;
let lastHeartbeat = QUIET_HEARTBEAT;

/** A heartbeat that carries a cursor: one pass over many connections asks for few different ones. */
function heartbeatAt(cursor: Cursor): Buffer {
  if (cursor !== lastCursor) {
    lastHeartbeat = Buffer.from(`:\nid: ${cursor}\n\n`);
    lastCursor = cursor;
  }
  return lastHeartbeat;
}
