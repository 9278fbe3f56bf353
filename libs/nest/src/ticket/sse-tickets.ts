/** `SseTickets`: single-use tickets for those who can send neither a header nor a cookie when they open a stream. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { ServiceUnavailableException } from '@nestjs/common';
import type { Backplane } from '@sse-channels/engine';
import { SseChannelsError, type Retention } from '@sse-channels/protocol';
import type { RouteInquiries } from '../route/route-inquiries.js';

/** How tickets are made. */
export interface SseTicketsOptions {
  /** At least 32 bytes, the same on all nodes. Of several the first makes tickets, and what any of them made is taken. */
  readonly secret: string | readonly string[];
  /** How long a ticket may be spent after it was issued, in milliseconds. The nodes' clocks differ by less. @default 30_000 */
  readonly ttlMs?: number;
}

const DEFAULT_TTL_MS = 30_000;
const PARAMETER = 'ticket';
/** No channel's topic begins so. */
const SEGMENT = '$tickets';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** A URL has room for no more, and who is let in needs no more. */
const MAX_CLAIMS_BYTES = 2_048;
const MAX_TICKET_LENGTH = 4_096;

/**
 * A request that is known makes a ticket of what its guards found out, and the request that opens the stream spends it: a guard asks
 * `of(request)` for what it was made of. It is encrypted and not kept anywhere; that it is spent is one record in the log, so that it
 * holds on every node.
 *
 * @example
 * \@Post('tickets')
 * \@UseGuards(SignedIn)
 * ticket(\@Req() request) {
 *   return { ticket: this.tickets.issue({ id: request.user.id }) };
 * }
 *
 * // in the guard
 * request.user = (await this.tickets.of(request)) ?? (await this.sessions.userOf(request.headers.authorization));
 */
export class SseTickets {
  readonly #backplane: Backplane;
  readonly #inquiries: Pick<RouteInquiries, 'of'>;
  readonly #keys: readonly Buffer[];
  readonly #ttlMs: number;
  /** A request spends its ticket once, however many guards ask, and whenever they are asked again. */
  readonly #claims = new WeakMap<IncomingMessage, Promise<unknown>>();

  constructor(backplane: Backplane, inquiries: Pick<RouteInquiries, 'of'>, options: SseTicketsOptions | null) {
    this.#backplane = backplane;
    this.#inquiries = inquiries;
    this.#keys = [options?.secret ?? []]
      .flat()
      .map((secret) => Buffer.from(hkdfSync('sha256', secret, '', '@sse-channels/ticket', KEY_BYTES)));
    this.#ttlMs = options?.ttlMs ?? DEFAULT_TTL_MS;
  }

  /**
   * Makes a ticket.
   * @param claims what `of` answers for it: JSON of 2,048 bytes at most. Nobody can read them in the ticket
   * @throws SseChannelsError `INVALID_OPTION` where the module has no `tickets: { secret }`, or the claims are no such JSON
   */
  issue(claims: unknown): string {
    const [key] = this.#keys;
    if (key === undefined) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        'Tickets need a secret that all nodes have: SseChannelsModule.forRoot({ tickets: { secret } }).',
      );
    }
    const json: string | undefined = claims === null ? undefined : JSON.stringify(claims);
    if (json === undefined || Buffer.byteLength(json) > MAX_CLAIMS_BYTES) {
      throw new SseChannelsError(
        'INVALID_OPTION',
        `issue: the claims must be JSON of at most ${MAX_CLAIMS_BYTES} bytes, and not null; name who it is, and look the rest up.`,
      );
    }
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    const sealed = Buffer.concat([cipher.update(`${Date.now() + this.#ttlMs} ${json}`), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
  }

  /**
   * Spends the ticket in the `ticket` parameter of a request's URL, once, and answers what it was made of: also to the routes that a hub
   * asks, and to guards that are asked again while the stream is open. Null where there is none, or one that is spent, too old or
   * no ticket.
   * @param request the framework's
   * @throws rejects with ServiceUnavailableException where the log, which knows what is spent, cannot be reached
   */
  of(request: unknown): Promise<any> {
    const { raw = request } = request as { readonly raw?: IncomingMessage };
    const asking = raw as IncomingMessage;
    const known = this.#claims.get(asking);
    if (known !== undefined) return known;
    const original = this.#inquiries.of(asking)?.original;
    const claims = original === undefined ? this.#spend(asking.url ?? '') : this.of(original);
    this.#claims.set(asking, claims);
    return claims;
  }

  async #spend(url: string): Promise<unknown> {
    const query = url.indexOf('?');
    const ticket = query === -1 ? null : new URLSearchParams(url.slice(query)).get(PARAMETER);
    const opened = ticket === null ? null : this.#open(ticket);
    if (opened === null) return null;
    return (await this.#isFirst(opened.id)) ? opened.claims : null;
  }

  #open(ticket: string): { readonly id: string; readonly claims: unknown } | null {
    if (ticket.length > MAX_TICKET_LENGTH) return null;
    const bytes = Buffer.from(ticket, 'base64url');
    if (bytes.length <= NONCE_BYTES + TAG_BYTES) return null;
    const nonce = bytes.subarray(0, NONCE_BYTES);
    for (const key of this.#keys) {
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
        decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
        const sealed = bytes.subarray(NONCE_BYTES + TAG_BYTES);
        const text = Buffer.concat([decipher.update(sealed), decipher.final()]).toString();
        const end = text.indexOf(' ');
        if (Date.now() >= Number(text.slice(0, end))) return null;
        return { id: nonce.toString('base64url'), claims: JSON.parse(text.slice(end + 1)) as unknown };
      } catch {
        // Of another key, or no ticket.
      }
    }
    return null;
  }

  /** Of all who come with a ticket the first is in the log: it keeps one record for the key, whoever else appends. */
  async #isFirst(id: string): Promise<boolean> {
    const topic = `${SEGMENT}/${id}`;
    const mine = JSON.stringify(randomBytes(9).toString('base64url'));
    const retention: Retention = { maxEvents: 1, maxAgeMs: 2 * this.#ttlMs, maxBytes: 1_024 };
    try {
      await this.#backplane.append(topic, { name: '$ticket', data: mine }, retention, { idempotencyKey: 'spent' });
      const { records } = await this.#backplane.read(topic, null, 1);
      return records[0]?.data === mine;
    } catch (cause) {
      throw new ServiceUnavailableException('Whether this ticket is spent cannot be known now; try again later.', {
        cause,
      });
    }
  }
}
