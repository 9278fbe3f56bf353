/** The servers that hold the partitions: for each a connection for commands and one for what it publishes, kept, moved and recovered. */
import { Link } from './link.js';
import type { Partition } from './partition.js';
import { failureOf } from './redis-failure.js';
import { SCRIPTS } from './scripts.js';
import type { Located, Topology } from './topology.js';

/** How long to wait before what did not work is tried again. */
const RETRY_MS = 200;
/** How many channels are subscribed by one command. */
const SUBSCRIBE_BATCH = 512;

/** What the backplane does when a server is there. */
export interface PrimariesListener {
  onMessage(partition: Partition, message: string, channel: string): void;
  /** Commands to the partitions are possible; nothing that was sent before is executed any more. Rejects to be called again. */
  onCommandable(partitions: readonly Partition[]): Promise<void>;
  /** The server sends what is subscribed, as long as `still` says so. Rejects to be called again. */
  onSubscribed(partitions: readonly Partition[], still: () => boolean): Promise<void>;
  /** Nothing more comes from the server, or a command will not be answered. */
  onLost(partitions: readonly Partition[], error: Error): void;
  /** Something of the above was done. */
  onChange(): void;
  /** Something did not work, and is tried again. */
  onTrouble(error: unknown): void;
}

interface Primary {
  readonly located: Located;
  readonly command: Link;
  subscriber: Link;
  readonly partitions: Set<Partition>;
  /** Which server process the command connection last spoke to, and how that knows the connection. */
  session: { readonly run: string; readonly client: number } | undefined;
  /** The generations of the links that were dealt with. */
  commandable: number;
  subscribed: number;
  /** The subscriber that was told all channels; on later reconnects it tells them by itself. */
  told: Link | undefined;
  recovering: boolean;
  again: boolean;
}

export class Primaries {
  readonly #byAddress = new Map<string, Primary>();
  readonly #byPartition = new Map<Partition, Primary>();
  /** What is to be subscribed, by partition. */
  readonly #channels = new Map<Partition, Set<string>>();
  readonly #listeners = new Map<Partition, (message: string, channel: string) => void>();
  readonly #waiting = new Set<() => void>();
  #refreshing: Promise<void> | undefined;
  #refreshTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    private readonly topology: Topology,
    private readonly partitions: readonly Partition[],
    private readonly listener: PrimariesListener,
  ) {
    for (const partition of partitions) {
      this.#channels.set(partition, new Set());
      this.#listeners.set(partition, (message, channel) => listener.onMessage(partition, message, channel));
    }
  }

  /** Connects to all. @throws rejects when one cannot be reached */
  async open(): Promise<void> {
    await this.#locate(true);
  }

  /** The connections for commands to each server, for what is asked of servers rather than partitions. */
  get commands(): Link[] {
    return [...this.#byAddress.values()].map(({ command }) => command);
  }

  /** The connection for commands to a partition; undefined while there is none. */
  commandOf(partition: Partition): Link | undefined {
    const primary = this.#byPartition.get(partition);
    return primary !== undefined && isCommandable(primary) ? primary.command : undefined;
  }

  /** As `commandOf`, also while the partition is being opened. @throws where there is no connection */
  rawCommandOf(partition: Partition): Link {
    const primary = this.#byPartition.get(partition);
    if (primary === undefined || !primary.command.ready) throw new Error('Redis cannot be reached.');
    return primary.command;
  }

  isSubscribed(partition: Partition): boolean {
    const primary = this.#byPartition.get(partition);
    return primary !== undefined && primary.subscriber.ready && primary.subscribed === primary.subscriber.generation;
  }

  /** Whether all can be commanded and send what is subscribed. */
  get live(): boolean {
    return this.partitions.every((one) => this.commandOf(one) !== undefined && this.isSubscribed(one));
  }

  /** Whether all are connected. */
  get connected(): boolean {
    return this.partitions.every((one) => {
      const primary = this.#byPartition.get(one);
      return primary?.command.ready === true && primary.subscriber.ready;
    });
  }

  /** Resolves when a condition holds that a change brings about; false when it does not within so many milliseconds. */
  async until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    if (condition()) return true;
    return new Promise((resolve) => {
      const done = (held: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve(held);
      };
      const look = (): void => {
        if (this.#closed || condition()) done(!this.#closed);
      };
      const timer = setTimeout(() => done(false), timeoutMs);
      this.#waiting.add(look);
    });
  }

  /** Subscribes now, and again on every later connection. @throws rejects when the server cannot be asked now */
  async subscribe(partition: Partition, channels: readonly string[]): Promise<void> {
    const wanted = this.#channels.get(partition) as Set<string>;
    for (const channel of channels) wanted.add(channel);
    const primary = this.#byPartition.get(partition);
    // Whoever recovers the link subscribes all that is wanted.
    if (primary === undefined || primary.told !== primary.subscriber) throw new Error('Redis cannot be reached.');
    await this.#subscribe(primary.subscriber, partition, channels);
  }

  unsubscribe(partition: Partition, channels: readonly string[]): void {
    const wanted = this.#channels.get(partition) as Set<string>;
    for (const channel of channels) wanted.delete(channel);
    const primary = this.#byPartition.get(partition);
    if (primary === undefined || !primary.subscriber.ready) return;
    const listener = this.#listeners.get(partition) as (message: string, channel: string) => void;
    void this.#batches(channels, (batch) =>
      primary.subscriber.unsubscribe(batch, this.topology.sharded, listener),
    ).catch(() => undefined);
  }

  /** A server said that it does not hold the partition any more, or cannot write. */
  moved(): void {
    this.#refreshLater(0);
  }

  /** Looks whether partitions have moved. */
  async look(): Promise<void> {
    if (this.topology.moves) await this.#locate(false);
  }

  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#refreshTimer);
    for (const look of this.#waiting) look();
    await Promise.all(
      [...this.#byAddress.values()].flatMap(({ command, subscriber }) => [command.close(graceMs), subscriber.close()]),
    );
    this.#byAddress.clear();
    this.#byPartition.clear();
  }

  #locate(first: boolean): Promise<void> {
    this.#refreshing ??= this.#relocate(first).finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  async #relocate(first: boolean): Promise<void> {
    const located = await this.topology.locate();
    const renewed = new Set<Primary>();
    for (const [index, partition] of this.partitions.entries()) {
      const at = located[index] as Located;
      const old = this.#byPartition.get(partition);
      if (old?.located.address === at.address || this.#closed) continue;
      const primary = this.#byAddress.get(at.address) ?? (await this.#connect(at));
      if (old !== undefined) {
        old.partitions.delete(partition);
        renewed.add(old);
      }
      primary.partitions.add(partition);
      this.#byPartition.set(partition, primary);
      renewed.add(primary);
    }
    for (const primary of renewed) {
      if (primary.partitions.size === 0) {
        this.#byAddress.delete(primary.located.address);
        await Promise.all([primary.command.close(), primary.subscriber.close()]);
        continue;
      }
      // What was dealt with for other partitions is dealt with again.
      primary.commandable = 0;
      if (primary.told !== undefined) await this.#renewSubscriber(primary);
      if (first) await this.#recoverOnce(primary);
      else void this.#recover(primary);
    }
  }

  async #connect(located: Located): Promise<Primary> {
    const primary: Primary = {
      located,
      command: this.#link(located, () => primary),
      subscriber: this.#link(located, () => primary),
      partitions: new Set(),
      session: undefined,
      commandable: 0,
      subscribed: 0,
      told: undefined,
      recovering: false,
      again: false,
    };
    try {
      await Promise.all([primary.command.open(), primary.subscriber.open()]);
    } catch (error) {
      await Promise.all([primary.command.close(), primary.subscriber.close()]);
      throw error;
    }
    if (this.#closed) await Promise.all([primary.command.close(), primary.subscriber.close()]);
    this.#byAddress.set(located.address, primary);
    return primary;
  }

  #link(located: Located, of: () => Primary): Link {
    return new Link(located.options, {
      onReady: () => {
        if (this.#byAddress.get(located.address) === of()) void this.#recover(of());
      },
      onLost: (error) => {
        this.listener.onLost([...of().partitions], error);
        this.#changed();
        this.#refreshLater(RETRY_MS);
      },
      onMoved: () => {
        const primary = of();
        primary.subscribed = 0;
        primary.told = undefined;
        this.listener.onLost([...primary.partitions], new Error('A part of the log has moved to another server.'));
        void this.#renewSubscriber(primary).catch(this.listener.onTrouble.bind(this.listener));
        this.#refreshLater(0);
      },
    });
  }

  /** A new connection that knows of no channel, in place of one that was told those of other partitions. */
  async #renewSubscriber(primary: Primary): Promise<void> {
    const old = primary.subscriber;
    primary.subscribed = 0;
    primary.told = undefined;
    primary.subscriber = this.#link(primary.located, () => primary);
    await old.close();
    await primary.subscriber.open();
  }

  async #recover(primary: Primary): Promise<void> {
    if (primary.recovering) {
      primary.again = true;
      return;
    }
    primary.recovering = true;
    let failed = false;
    try {
      do {
        primary.again = false;
        await this.#recoverOnce(primary);
      } while (primary.again);
    } catch (error) {
      failed = true;
      if (!this.#closed && primary.command.ready) this.listener.onTrouble(error);
    } finally {
      primary.recovering = false;
    }
    if (!failed && !primary.again) return;
    // The loss of a connection is what usually fails here, and its return calls again; this is for everything else.
    setTimeout(() => {
      if (!this.#closed && this.#byAddress.get(primary.located.address) === primary) void this.#recover(primary);
    }, RETRY_MS).unref();
  }

  async #recoverOnce(primary: Primary): Promise<void> {
    const { command, subscriber } = primary;
    const [commands, messages] = [command.generation, subscriber.generation];
    if (command.ready && primary.commandable !== commands) {
      await this.#begin(primary);
      await this.listener.onCommandable([...primary.partitions]);
      if (command.ready && command.generation === commands) primary.commandable = commands;
      this.#changed();
    }
    if (!isCommandable(primary) || !subscriber.ready || primary.subscribed === messages) return;
    if (primary.told !== subscriber) {
      primary.told = subscriber;
      try {
        for (const partition of primary.partitions)
          await this.#subscribe(subscriber, partition, [...(this.#channels.get(partition) as Set<string>)]);
      } catch (error) {
        primary.told = undefined;
        throw error;
      }
    }
    const still = (): boolean =>
      primary.subscriber === subscriber && subscriber.ready && subscriber.generation === messages;
    await this.listener.onSubscribed([...primary.partitions], still);
    if (still()) primary.subscribed = messages;
    this.#changed();
  }

  /**
   * What an earlier connection of ours sent may lie unread in the server's buffer, and would be executed after what this one sends; so
   * the server is told to drop that connection first. Then it is given the scripts.
   */
  async #begin(primary: Primary): Promise<void> {
    const { command, session } = primary;
    const [client, server] = await Promise.all([
      command.send<number>(['CLIENT', 'ID']),
      command.send<string>(['INFO', 'server']),
    ]);
    const run = /^run_id:(\S+)/m.exec(server)?.[1] ?? '';
    if (session !== undefined && session.run === run && session.client !== client)
      await command.send(['CLIENT', 'KILL', 'ID', String(session.client)]).catch((error: unknown) => {
        // A user without the right to do so runs the small risk; docs/redis.md names it.
        if (failureOf(error) !== 'refused') throw error;
      });
    primary.session = { run, client };
    await Promise.all(SCRIPTS.map(({ source }) => command.send(['SCRIPT', 'LOAD', source])));
  }

  async #subscribe(link: Link, partition: Partition, channels: readonly string[]): Promise<void> {
    const listener = this.#listeners.get(partition) as (message: string, channel: string) => void;
    await this.#batches(channels, (batch) => link.subscribe(batch, this.topology.sharded, listener));
  }

  async #batches(channels: readonly string[], act: (batch: string[]) => Promise<void>): Promise<void> {
    const acts: Array<Promise<void>> = [];
    for (let from = 0; from < channels.length; from += SUBSCRIBE_BATCH)
      acts.push(act(channels.slice(from, from + SUBSCRIBE_BATCH)));
    await Promise.all(acts);
  }

  #refreshLater(ms: number): void {
    if (!this.topology.moves || this.#closed || this.#refreshTimer !== undefined) return;
    this.#refreshTimer = setTimeout(() => {
      this.#refreshTimer = undefined;
      this.#locate(false).then(
        () => {
          if (!this.live) this.#refreshLater(RETRY_MS);
        },
        (error: unknown) => {
          this.listener.onTrouble(error);
          this.#refreshLater(RETRY_MS);
        },
      );
    }, ms).unref();
  }

  #changed(): void {
    if (this.#closed) return;
    this.listener.onChange();
    for (const look of this.#waiting) look();
  }
}

function isCommandable({ command, commandable }: Primary): boolean {
  return command.ready && commandable === command.generation;
}
