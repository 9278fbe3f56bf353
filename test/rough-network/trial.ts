/** One run of the client's hardest case: many topics on one connection, through a network that cuts, stalls, delays and truncates. */
import { setTimeout as delay } from 'node:timers/promises';
import { Controller, Module, Param } from '@nestjs/common';
import { createSseClient, hub, type ClientGap, type HubSubscription, type SseHubClient } from '@sse-channels/client';
import { defineChannel, EventBus, Hub, SseChannel, SseChannelsModule, SseEvent, SseHub } from '@sse-channels/nest';
import { eventually } from '@sse-channels/testing';
import { IsInt, IsString } from 'class-validator';
import { SequenceTally, totalsOf, type Totals } from '../endurance/sequence-tally.js';
import { Dice } from '../endurance/fuzz/dice.js';
import { FaultyLink } from '../faulty-link.js';
import { adapters, startApp } from '../http/adapters.js';

@SseEvent('number.counted')
class Counted {
  static readonly eventName = 'number.counted';
  @IsInt() number!: number;
  @IsString() text!: string;
}

const countsChannel = defineChannel('counts/:name', {
  events: [Counted],
  replay: { maxEvents: 20_000, maxBytes: 2 ** 26 },
});
/** What is given from its beginning, however far that lies behind the stream. */
const pastChannel = defineChannel('past/:name', {
  events: [Counted],
  replay: { maxEvents: 20_000, maxBytes: 2 ** 26 },
});
type Counts = typeof countsChannel;
type Channels = Counts | typeof pastChannel;

@Controller()
class CountsController {
  @SseChannel(countsChannel, 'counts/:name')
  counts(@Param('name') name: string) {
    return countsChannel.topic({ name });
  }

  @SseChannel(pastChannel, 'past/:name')
  past(@Param('name') name: string) {
    return { topic: pastChannel.topic({ name }), start: 'earliest' as const };
  }

  @SseHub('live', { channels: [countsChannel, pastChannel] })
  live() {}
}

@Module({
  imports: [
    SseChannelsModule.forRoot({
      heartbeatMs: 50,
      retryMs: 10,
      cursor: { secret: 'a secret of the trials, 32 bytes long' },
    }),
  ],
  controllers: [CountsController],
})
class CountsModule {}

export interface TrialOptions {
  readonly seed: number;
  readonly topics: number;
  readonly events: number;
}

export interface TrialResult extends Totals {
  readonly seed: number;
  readonly adapter: string;
  /** What the client fell back to at the end. */
  readonly transport: string;
  /** Connections through the proxy: streams, changes of topics, long polls. */
  readonly connections: number;
  /** How many of them the proxy has cut. */
  readonly cuts: number;
  readonly stalls: number;
  /** Topics that came and went, and what their subscriptions lost, had twice or out of order. */
  readonly visitors: number;
  readonly visitorsWrong: number;
  /** Gaps and errors that were told though there were none. */
  readonly falselyTold: number;
  readonly seconds: number;
}

/** Publishes to topics in turns of a die while the network is rough, and counts what each subscription's handler was called with. */
export async function playTrial({ seed, topics, events }: TrialOptions): Promise<TrialResult> {
  const beganAt = Date.now();
  const dice = new Dice(seed);
  const { adapter, make } = adapters[seed % 2] ?? adapters[0];
  const { app, url } = await startApp(make, CountsModule);
  const link = await FaultyLink.listen(url);
  const bus = app.get(EventBus);
  const told: unknown[] = [];
  const client = createSseClient<Channels>(`${link.origin}/live`, {
    hub,
    retryMs: 10,
    maxRetryMs: 60,
    openTimeoutMs: 250,
    heartbeatMs: 50,
    // Cuts come fast: where long-polling is allowed it is soon all that is done.
    longPoll: seed % 4 === 0,
    onError: (error) => told.push(error),
  });
  try {
    const lanes = Array.from({ length: topics }, (_, index) => follow(client, `t${index}`, dice, told));
    await eventually(() => lanes.every(({ state }) => state.status === 'open'), 'every topic given', 10_000);
    const visits = new Visits(client, told);
    const trouble = new Trouble(link, dice);
    const last = new Map<string, number>();
    const publish = async (name: string, channel: Counts | typeof pastChannel = countsChannel): Promise<void> => {
      const number = (last.get(name) ?? 0) + 1;
      last.set(name, number);
      const text = 'x'.repeat(dice.pick([0, 10, 200]));
      await bus.publish(channel.topic({ name }), Counted, { number, text });
    };
    for (let count = 0; count < events; count += 1) {
      trouble.make();
      if (dice.oneIn(60)) visits.change(dice);
      if (dice.oneIn(12)) await publish(visits.name(dice), pastChannel);
      await publish(`t${dice.below(topics)}`);
      if (dice.oneIn(10)) await delay(dice.below(6));
    }
    const isWhole = (): boolean =>
      lanes.every(({ tally, name }) => tally.lost(last.get(name) ?? 0) === 0) && visits.haveCome(last);
    trouble.end();
    await eventually(isWhole, 'everything', 20_000).catch(() => undefined);
    // What would be given once more is given at a reconnect, and before what is published after that.
    trouble.end();
    for (const { name } of lanes) await publish(name);
    for (const name of VISITED) await publish(name, pastChannel);
    await eventually(isWhole, 'the last of each topic', 20_000).catch(() => undefined);
    const { falselyTold, wrong } = visits.end(last);
    return {
      ...totalsOf(lanes.map(({ tally }) => tally)),
      lost: lanes.reduce((sum, { tally, name }) => sum + tally.lost(last.get(name) ?? 0), 0),
      seed,
      adapter,
      transport: client.state.transport,
      connections: link.opened,
      cuts: link.broken,
      stalls: trouble.stalls,
      visitors: visits.count,
      visitorsWrong: wrong,
      falselyTold: falselyTold + told.length,
      seconds: (Date.now() - beganAt) / 1_000,
    };
  } finally {
    client.close();
    await link.close();
    await eventually(() => app.get(Hub).snapshot().connections === 0, 'no connection is left').catch(() => undefined);
    await app.close();
  }
}

/** A subscription, and what its handler was called with. */
interface Lane {
  readonly name: string;
  readonly tally: SequenceTally;
  readonly state: HubSubscription<Counts>['state'];
}

function follow(client: SseHubClient<Channels>, name: string, dice: Dice, told: unknown[]): Lane {
  const tally = new SequenceTally();
  const subscription = client.subscribe('counts/:name', { name });
  subscription.onGap((gap) => told.push(gap));
  subscription.on('number.counted', async ({ number }) => {
    if (dice.oneIn(30)) await delay(1);
    tally.take(number);
  });
  return {
    name,
    tally,
    get state() {
      return subscription.state;
    },
  };
}

/** Topics that are subscribed to for a while, some of them by several at a time. */
class Visits {
  readonly #open: Visit[] = [];
  readonly #tallies: SequenceTally[] = [];
  readonly #gaps: ClientGap[] = [];
  /** Topics that the client has let go for certain: who comes next is given them from their beginning. */
  readonly #free = new Set<string>(VISITED);
  /** Those that it will have let go in a moment, if nobody comes. */
  readonly #leaving = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(
    private readonly client: SseHubClient<Channels>,
    private readonly told: unknown[],
  ) {}

  get count(): number {
    return this.#tallies.length;
  }

  name(dice: Dice): string {
    return dice.pick(VISITED);
  }

  /** One comes or goes. */
  change(dice: Dice): void {
    if (this.#open.length > 5 || (this.#open.length > 0 && dice.oneIn(2))) {
      for (const visit of this.#open.splice(dice.below(this.#open.length), 1)) this.#leave(visit);
      return;
    }
    const name = this.name(dice);
    clearTimeout(this.#leaving.get(name));
    const subscription = this.client.subscribe('past/:name', { name });
    // Who joins others is given what comes from then on, and that whole.
    const tally = new SequenceTally(this.#free.delete(name) ? 0 : null);
    this.#tallies.push(tally);
    subscription.onGap((gap) => this.#gaps.push(gap));
    subscription.on('number.counted', ({ number }) => tally.take(number));
    subscription.onState(({ status, error }) => {
      if (status === 'closed' && error !== undefined) this.told.push(error);
    });
    this.#open.push({ name, subscription, tally });
  }

  /** Whether those that are there have been called with the last of their topics. */
  haveCome(last: ReadonlyMap<string, number>): boolean {
    return this.#open.every(({ name, tally }) => tally.last === (last.get(name) ?? tally.last));
  }

  end(last: ReadonlyMap<string, number>): { readonly falselyTold: number; readonly wrong: number } {
    const { lost, doubled, reordered } = totalsOf(this.#tallies);
    const late = this.haveCome(last) ? 0 : 1;
    for (const { subscription } of this.#open) subscription.close();
    return { falselyTold: this.#gaps.length, wrong: lost + doubled + reordered + late };
  }

  #leave({ name, subscription }: Visit): void {
    subscription.close();
    if (this.#open.some((visit) => visit.name === name)) return;
    // A topic that is taken out and in again in one go stays in.
    this.#leaving.set(
      name,
      setTimeout(() => this.#free.add(name), 5),
    );
  }
}

const VISITED = ['v0', 'v1', 'v2', 'v3', 'v4', 'v5'] as const;

interface Visit {
  readonly name: string;
  readonly subscription: HubSubscription<typeof pastChannel>;
  readonly tally: SequenceTally;
}

/** What the network does. */
class Trouble {
  stalls = 0;

  constructor(
    private readonly link: FaultyLink,
    private readonly dice: Dice,
  ) {}

  make(): void {
    const { dice, link } = this;
    const fate = dice.below(400);
    if (fate < 4) link.cut();
    else if (fate < 6) {
      this.stalls += 1;
      link.stall(dice.oneIn(2) ? 'from-target' : 'to-target');
    } else if (fate < 12) link.cutAfter(dice.below(3_000));
    else if (fate < 14) link.cutReplies();
    else if (fate < 20) link.delay(dice.below(5));
    else if (fate < 23) link.heal();
  }

  /** From now on nothing happens, after one more cut. */
  end(): void {
    this.link.delay(0);
    this.link.cut();
  }
}
