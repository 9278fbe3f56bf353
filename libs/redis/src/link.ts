/** One connection to one Redis server, which comes back by itself when it is lost. */
import { createClient, type RedisClientOptions } from '@redis/client';
import { lacksScript } from './redis-failure.js';
import type { Script } from './scripts.js';

/** How often an idle connection is tried, and after what silence it counts as lost: half-open links answer nothing for ever. */
const PING_MS = 1_500;
const SILENCE_MS = 4_000;
/** First and longest wait before a lost connection is tried again; half of it is chance, so that many nodes do not come at once. */
const RECONNECT_MS = 40;
const MAX_RECONNECT_MS = 600;

/** A command and its arguments. */
export type Words = readonly string[];

type Client = ReturnType<typeof createClient>;

export interface LinkListener {
  /** Connected, or connected again; subscriptions are back. */
  onReady(): void;
  onLost(error: Error): void;
  /** The server no longer serves what this link subscribed to: its slot has moved. */
  onMoved?(): void;
}

export class Link {
  readonly #client: Client;
  /** Counts the times it was connected. */
  #generation = 0;
  #opened = false;
  #closed = false;

  constructor(
    options: RedisClientOptions,
    private readonly listener: LinkListener,
  ) {
    this.#client = createClient({
      maintNotifications: 'disabled',
      ...options,
      disableOfflineQueue: true,
      pingInterval: options.pingInterval ?? PING_MS,
      // It would time only what is not yet written, by an AbortSignal for each command: half of what an append costs this process.
      commandOptions: { ...options.commandOptions, timeout: 0 },
      socket: {
        socketTimeout: SILENCE_MS,
        connectTimeout: SILENCE_MS,
        ...options.socket,
        // The first connection is asked for by someone who wants to hear that it failed.
        reconnectStrategy: (retries: number) => {
          if (this.#closed || !this.#opened) return false;
          const ms = Math.min(RECONNECT_MS * 2 ** Math.min(retries, 10), MAX_RECONNECT_MS);
          return ms / 2 + (Math.random() * ms) / 2;
        },
      } as NonNullable<RedisClientOptions['socket']>,
    });
    let ready = false;
    this.#client.on('ready', () => {
      ready = true;
      this.#opened = true;
      this.#generation += 1;
      if (!this.#closed) this.listener.onReady();
    });
    this.#client.on('error', (error: Error) => {
      if (!ready || this.#client.isReady) return;
      ready = false;
      if (!this.#closed) this.listener.onLost(error);
    });
    const moved = (): void => {
      if (!this.#closed) this.listener.onMoved?.();
    };
    this.#client.on('sharded-channel-moved', moved);
    this.#client.on('__MOVED', moved);
  }

  get ready(): boolean {
    return this.#client.isReady;
  }

  get generation(): number {
    return this.#generation;
  }

  /** @throws rejects when the first connection fails */
  async open(): Promise<void> {
    await this.#client.connect();
  }

  /** Sends in the order of the calls. */
  send<T>(words: Words): Promise<T> {
    return this.#client.sendCommand<T>(words);
  }

  /** As `send`: rejects where the server has lost the script. */
  runInOrder<T>(script: Script, keys: Words, args: Words): Promise<T> {
    return this.send<T>(['EVALSHA', script.sha, String(keys.length), ...keys, ...args]);
  }

  async run<T>(script: Script, keys: Words, args: Words): Promise<T> {
    try {
      return await this.runInOrder<T>(script, keys, args);
    } catch (error) {
      if (!lacksScript(error)) throw error;
      return this.send<T>(['EVAL', script.source, String(keys.length), ...keys, ...args]);
    }
  }

  /** Executes them as one. */
  async together(commands: readonly Words[]): Promise<unknown[]> {
    const multi = this.#client.multi();
    for (const words of commands) multi.addCommand([...words]);
    return multi.exec();
  }

  async subscribe(
    channels: string[],
    sharded: boolean,
    onMessage: (message: string, channel: string) => void,
  ): Promise<void> {
    await (sharded ? this.#client.sSubscribe(channels, onMessage) : this.#client.subscribe(channels, onMessage));
  }

  async unsubscribe(
    channels: string[],
    sharded: boolean,
    onMessage: (message: string, channel: string) => void,
  ): Promise<void> {
    await (sharded ? this.#client.sUnsubscribe(channels, onMessage) : this.#client.unsubscribe(channels, onMessage));
  }

  /** Lets what was sent be answered, at most so many milliseconds. */
  async close(graceMs = 0): Promise<void> {
    this.#closed = true;
    if (graceMs > 0 && this.#client.isReady) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, graceMs);
      });
      await Promise.race([this.#client.close().catch(() => undefined), late]);
      clearTimeout(timer);
    }
    this.#client.destroy();
  }
}
