/** What one client saw of one stream, whatever read it: events and comments in the order in which they came. */

/** An event as the client was given it. */
export interface SeenEvent {
  readonly kind: 'event';
  readonly name: string;
  readonly data: string;
  /** The last event ID that held at it. */
  readonly id: string;
  /** When, by the clock that is never set. */
  readonly at: number;
}

export type Seen = SeenEvent | { readonly kind: 'comment' };

/** How a stream is asked for. */
export interface ReadRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent as `Last-Event-ID`. */
  readonly header?: string | undefined;
  /** Sent as `?lastEventId=`. */
  readonly query?: string | undefined;
}

/** Something that reads streams: a library, a program, a browser. */
export interface Reader {
  readonly name: string;
  /** Whether the caller decides on `Last-Event-ID`; a native EventSource sends it by itself, when it reconnects. */
  readonly sendsHeader: boolean;
  /** Whether it comes back by itself after a cut, as an EventSource does. */
  readonly reconnects: boolean;
  /** Names of events must be known before: an EventSource gives what it was asked for. */
  open(request: ReadRequest, names: readonly string[]): Promise<Reading>;
  close?(): Promise<void>;
}

/** How a client leaves: in order (FIN), with a reset, or after it closed its own half. */
export type LeaveKind = 'close' | 'reset' | 'half-close';

/** What a reader does for its reading. */
export interface ReadingHandle {
  leave(kind: LeaveKind): void;
  pause?(): void;
  resume?(): void;
}

export class Reading {
  /** Null where the reader cannot tell. */
  status: number | null = null;
  headers: Readonly<Record<string, string>> = {};
  readonly seen: Seen[] = [];
  /** The body as it came; empty where the reader hides it. */
  text = '';
  ended = false;
  /** Whether the client itself left. */
  left = false;
  /** What the client would come back with. */
  cursor = '';
  handle: ReadingHandle = { leave: () => undefined };

  readonly #waiting = new Set<() => void>();

  event(name: string, data: string, id: string): void {
    if (this.left) return;
    this.cursor = id;
    this.seen.push({ kind: 'event', name, data, id, at: performance.now() });
    this.look();
  }

  comment(): void {
    if (this.left) return;
    this.seen.push({ kind: 'comment' });
    this.look();
  }

  end(): void {
    this.ended = true;
    this.look();
  }

  get events(): SeenEvent[] {
    return this.seen.filter((seen) => seen.kind === 'event');
  }

  get comments(): number {
    return this.seen.length - this.events.length;
  }

  named(name: string): SeenEvent[] {
    return this.events.filter((event) => event.name === name);
  }

  leave(kind: LeaveKind = 'close'): void {
    if (this.left) return;
    this.left = true;
    this.handle.leave(kind);
    this.look();
  }

  /** Resolves to whether the condition came to hold within that time; rejects with what it throws. */
  until(condition: (reading: this) => boolean, withinMs: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const settle = (held: boolean | Error): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        if (held instanceof Error) reject(held);
        else resolve(held);
      };
      const check = (): void => {
        try {
          if (condition(this)) settle(true);
        } catch (error) {
          settle(error as Error);
        }
      };
      const timer = setTimeout(() => settle(false), withinMs);
      this.#waiting.add(check);
      check();
    });
  }

  /** Looks whether somebody waits for what is there by now. */
  look(): void {
    for (const check of this.#waiting) check();
  }
}

/** The URL with the cursor in its query, where one is to be. */
export function urlOf({ url, query }: ReadRequest): string {
  if (query === undefined) return url;
  const full = new URL(url);
  full.searchParams.set('lastEventId', query);
  return full.href;
}

/** The headers of the request, those of the caller included. */
export function headersOf({ headers, header }: ReadRequest): Record<string, string> {
  return { accept: 'text/event-stream', ...headers, ...(header === undefined ? {} : { 'last-event-id': header }) };
}
