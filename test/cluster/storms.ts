/** What is done to a cluster under load, at moments and to victims that the dice decide. */
import { readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { RedisServer } from '../engines/redis-server.js';
import { Storm, type StormPlay } from './storm.js';

/** Of the engine's outages, in milliseconds. */
const MAX_AWAY_MS = 600;
/** The most that a Redis loses of its append-only file. */
const MAX_LOST_BYTES = 65_536;
/** How long a half-open link stays as it is where nobody notices, in milliseconds. */
const HALF_OPEN_MS = 6_000;

/** Does all of these at the same time. */
export function together(...storms: readonly StormPlay[]): StormPlay {
  return async (storm) => {
    await Promise.all(storms.map((play) => play(storm)));
  };
}

/** One after the other, each for its share of the time; what it left broken is mended before the next. */
export function inTurn(shares: ReadonlyArray<readonly [share: number, play: StormPlay]>): StormPlay {
  const all = shares.reduce((sum, [share]) => sum + share, 0);
  return async ({ cluster, clients, dice, seconds }) => {
    for (const [share, play] of shares) {
      await new Storm(cluster, clients, dice, (seconds * share) / all).play(play);
      await cluster.heal();
    }
  };
}

/** Kills the engine so many times, spread over the time, and starts it again after a moment. */
export function engineKills(times: number): StormPlay {
  return async (storm) => {
    const { cluster, dice, seconds } = storm;
    // The last is done early enough for everything to come back.
    const everyMs = (seconds * 1_000) / (times + 1);
    for (let kill = 0; kill < times; kill += 1) {
      await storm.pause(everyMs * (0.4 + dice.below(500) / 1_000));
      await cluster.killEngine(dice.below(MAX_AWAY_MS));
    }
  };
}

/** Each server of the engine in its turn. */
export async function rollingKills(storm: Storm): Promise<void> {
  const { cluster, dice } = storm;
  const { servers } = cluster.engine;
  for (let turn = dice.below(servers.length); !storm.over; turn += 1) {
    await storm.pause(300 + dice.below(500));
    await cluster.killEngine(dice.below(MAX_AWAY_MS), servers[turn % servers.length]);
    await storm.pause(1_000);
  }
}

/**
 * The engine is killed and comes back without the end of what it acknowledged: what a stalled disk leaves of a log that is not
 * written at once. A Redis finds its append-only file cut off, anything else an older store.
 */
export function lostTails(times: number): StormPlay {
  return async (storm) => {
    const { cluster, dice, seconds } = storm;
    const [server] = cluster.engine.servers;
    if (server === undefined) return;
    const everyMs = (seconds * 1_000) / (times + 1);
    for (let kill = 0; kill < times; kill += 1) {
      await storm.pause(everyMs * (0.4 + dice.below(500) / 1_000));
      await cluster.outage(async () => {
        await server.kill();
        if (server instanceof RedisServer) {
          cutOff(server.directory, 1 + dice.below(MAX_LOST_BYTES));
        } else {
          server.save();
          await server.start();
          await storm.pause(200 + dice.below(500));
          await server.kill();
          server.restore();
        }
        await server.start();
      });
    }
  };
}

function cutOff(directory: string, bytes: number): void {
  const files = join(directory, 'appendonlydir');
  for (const name of readdirSync(files)) {
    const path = join(files, name);
    if (name.endsWith('.incr.aof')) truncateSync(path, Math.max(0, statSync(path).size - bytes));
  }
}

/** The engine stands still, and its connections with it. */
export async function engineFreezes(storm: Storm): Promise<void> {
  const { cluster, dice } = storm;
  await storm.pause(500 + dice.below(500));
  await cluster.outage(async () => {
    const [server] = cluster.engine.servers;
    server?.freeze();
    await storm.pause(2_000 + dice.below(1_500));
    server?.thaw();
  });
}

/** The engine closes connections: those for the tail or those for commands; where it has no command for that, the link does. */
export async function clientKills(storm: Storm): Promise<void> {
  const { cluster, dice } = storm;
  const [server] = cluster.engine.servers;
  while (!storm.over) {
    await storm.pause(300 + dice.below(400));
    const kind = dice.pick(['pubsub', 'normal']);
    if (server instanceof RedisServer) {
      // It may be away for a moment.
      await server.send('CLIENT', 'KILL', 'TYPE', kind).catch(() => undefined);
    } else {
      dice.pick(cluster.nodes).link?.cut();
    }
  }
}

/** Connections of nodes to the engine, and of clients to nodes, are cut. */
export async function tcpDrops(storm: Storm): Promise<void> {
  const { cluster, dice } = storm;
  while (!storm.over) {
    await storm.pause(200 + dice.below(500));
    if (dice.oneIn(3)) cluster.balancer.cut(() => dice.oneIn(4));
    else dice.pick(cluster.nodes).link?.cut(() => dice.oneIn(2));
  }
}

/** Links of nodes to the engine pass nothing on one way, and nobody is told. */
export async function halfOpenLinks(storm: Storm): Promise<void> {
  const { cluster, dice } = storm;
  while (!storm.over) {
    await storm.pause(300 + dice.below(500));
    const { link } = dice.pick(cluster.nodes);
    link?.stall(dice.oneIn(3) ? 'to-target' : 'from-target');
    if (dice.oneIn(3)) cluster.balancer.stall('from-target');
    await storm.pause(HALF_OPEN_MS);
    // What nobody gave up in all this time is let go, as a network does in the end.
    link?.cut();
    cluster.balancer.heal();
  }
}

/** Requests reach the engine and are done; the answers are lost with the connection. */
export async function repliesCut(storm: Storm): Promise<void> {
  const { cluster, dice } = storm;
  while (!storm.over) {
    await storm.pause(200 + dice.below(400));
    dice.pick(cluster.nodes).link?.cutReplies();
  }
}

/** Everything on the way to nodes takes longer, and then not. */
export async function delays(storm: Storm): Promise<void> {
  const { cluster, dice } = storm;
  while (!storm.over) {
    const { link } = dice.pick(cluster.nodes);
    link?.delay(20 + dice.below(200));
    await storm.pause(300 + dice.below(700));
    link?.delay(0);
  }
}

/** Clients leave in the middle of whatever comes, and come back. */
export async function clientCuts(storm: Storm): Promise<void> {
  const { clients, dice } = storm;
  while (!storm.over) {
    await storm.pause(10 + dice.below(60));
    dice.pick(clients).cut();
  }
}

/** An app process is killed, and started again after a moment. */
export async function nodeKills(storm: Storm): Promise<void> {
  const { cluster, dice } = storm;
  while (!storm.over) {
    await storm.pause(400 + dice.below(800));
    const { server } = dice.pick(cluster.nodes);
    await server.kill();
    await storm.pause(dice.below(500));
    await server.start();
  }
}

/** An app process stands still for so long, and goes on. */
export function nodeFreezes(ms: number): StormPlay {
  return async (storm) => {
    const { cluster, dice } = storm;
    await storm.pause(300 + dice.below(500));
    const { server } = dice.pick(cluster.nodes);
    server.freeze();
    await storm.pause(ms);
    server.thaw();
  };
}

/** The nodes that were not started at first come, and clients are sent about so that some reach them. */
export async function lateNodes(storm: Storm): Promise<void> {
  const { cluster, clients, dice, seconds } = storm;
  await storm.pause((seconds * 1_000) / 4);
  for (const { server } of cluster.nodes) if (server.pid === null) await server.start();
  while (!storm.over) {
    await storm.pause(50 + dice.below(100));
    dice.pick(clients).cut();
  }
}
