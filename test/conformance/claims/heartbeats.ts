/** Claims about what is sent when nothing else is. */
import type { Claim } from '../claim.js';
import { demand, LeftOut } from '../finding.js';
import type { Reading } from '../reading.js';
import type { Trial } from '../trial.js';

/** A server's clock and ours are read at different moments; so much they may differ. */
const SLACK_MS = 5;

/** The heartbeat interval that a stream tells. @throws LeftOut where it is too long to wait for */
function intervalOf(trial: Trial, reading: Reading): number {
  const { heartbeatMs } = JSON.parse(reading.events[0]?.data ?? '{}') as { heartbeatMs: number };
  const { patienceMs } = trial.session;
  if (heartbeatMs <= patienceMs) return heartbeatMs;
  throw new LeftOut(`the heartbeat comes every ${heartbeatMs} ms, and --patience is ${patienceMs} ms`);
}

async function awaitHeartbeats(trial: Trial, reading: Reading, count: number): Promise<void> {
  const wanted = reading.comments + count;
  const withinMs = intervalOf(trial, reading) * count * 3 + trial.session.deadlineMs;
  const came = await reading.until(({ comments }) => comments >= wanted, withinMs);
  demand(came, `no ${count} heartbeats within ${withinMs} ms on a quiet stream`);
}

export const heartbeatWhenQuiet: Claim = {
  name: 'heartbeat-when-quiet',
  sentence: 'A quiet stream has heartbeats.',
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const reading = await topic.open();
    await awaitHeartbeats(trial, reading, 2);
    await topic.demandExactly(reading, [await topic.publish()], 'after heartbeats');
  },
};

export const noHeartbeatWhenBusy: Claim = {
  name: 'no-heartbeat-when-busy',
  sentence: 'No heartbeat is sent within the interval after something else was.',
  readers: 'raw',
  async prove(trial) {
    const topic = trial.topic();
    const reading = await topic.open();
    const intervalMs = intervalOf(trial, reading);
    const sentAt = new Map<number, number>();
    const begun = performance.now();
    const numbers: number[] = [];
    while (performance.now() - begun < intervalMs * 3 && numbers.length < trial.atMost(10_000)) {
      const at = performance.now();
      const number = await topic.publish();
      sentAt.set(number, at);
      numbers.push(number);
      await topic.await(reading, number);
    }
    await topic.demandExactly(reading, numbers, 'the busy stream');
    // Between one event and the next there was no longer silence than from the sending of the one to the sight of the other.
    let busy = 0;
    let heartbeat = false;
    let last: number | undefined;
    for (const seen of reading.seen) {
      if (seen.kind === 'comment') heartbeat = true;
      else if (seen.name === trial.session.eventName) {
        const silenceMs = seen.at - (last === undefined ? -Infinity : (sentAt.get(last) ?? -Infinity));
        if (silenceMs < intervalMs - SLACK_MS) {
          busy += 1;
          demand(
            !heartbeat,
            `a heartbeat was sent within ${Math.ceil(silenceMs)} ms of an event; the interval is ${intervalMs} ms`,
          );
        }
        heartbeat = false;
        last = topic.numberOf(seen);
      }
    }
    if (busy === 0) throw new LeftOut('publishing took longer than the heartbeat interval');
  },
};

export const heartbeatKeepsCursor: Claim = {
  name: 'heartbeat-keeps-cursor',
  sentence:
    'A heartbeat never moves the cursor backwards or past an event: whoever comes back after it gets exactly the rest.',
  // They take the id of a block that is dispatched to nobody.
  readers: (reader) => !reader.reconnects && reader.name !== 'eventsource-parser',
  async prove(trial) {
    const topic = trial.topic();
    let cursor: string | undefined;
    let unseen: number[] = [];
    for (let round = trial.size(2, 4); round > 0; round -= 1) {
      const reading = await topic.open({ cursor });
      const row = [...unseen, ...(await topic.publishRow(trial.int(0, 4)))];
      await topic.demandExactly(reading, row, 'back after a heartbeat');
      await awaitHeartbeats(trial, reading, trial.int(1, 2));
      reading.leave();
      demand(reading.cursor !== '', 'a heartbeat took the cursor away');
      ({ cursor } = reading);
      unseen = await topic.publishRow(trial.int(0, 4));
    }
    const last = await topic.open({ cursor });
    await topic.demandExactly(last, [...unseen, await topic.publish()], 'back after the last heartbeat');
  },
};
