/** Claims about the end of the application's process. */
import type { Claim } from '../claim.js';
import { demand } from '../finding.js';
import { rawTcp } from '../readers/raw-tcp.js';
import { demandWitnessed } from './load.js';
import { publishWatched } from './resuming.js';

export const restart: Claim = {
  name: 'restart',
  sentence: 'After a restart a client gets exactly the rest, or is told at once that the log was reset: never silence.',
  needs: ['process'],
  // A restart takes its time, and what is compared is the server's word.
  readers: (reader) => reader === rawTcp || reader.reconnects,
  async prove(trial) {
    const { target, poster } = trial.session;
    const topic = trial.topic();
    const { cursors, numbers } = await publishWatched(topic, trial.int(2, 8));
    const watching = await topic.open({ cursor: cursors.at(-1), reader: rawTcp });
    await target.process?.kill();
    const ended = await watching.until((reading) => reading.ended, trial.session.deadlineMs);
    demand(ended, 'the stream did not end with its process');
    poster.close();
    await target.process?.start();
    for (const position of new Set([trial.int(0, numbers.length - 1), numbers.length])) {
      const what = `back after a restart at position ${position} of ${numbers.length}`;
      const reading = await topic.open({ cursor: cursors[position] });
      const next = await topic.publish();
      await topic.await(reading, next);
      const received = topic.received(reading);
      if (target.log === 'memory') {
        demand(received[0] === 'gap', `${what}: no $gap was told, the log is that of another process`);
        const { reason } = JSON.parse(reading.named('$gap')[0]?.data ?? '{}');
        demand(reason === 'reset', `${what}: the reason of the gap is ${reason}, not reset`);
        demand(received.at(-1) === next, `${what}: the next event did not come`);
      } else {
        topic.demandJudged([...numbers.slice(position), next], received, what);
      }
      numbers.push(next);
      cursors.push(topic.eventsOf(reading).at(-1)?.id ?? '');
      reading.leave();
      if (target.log === 'memory') break;
    }
  },
};

export const drain: Claim = {
  name: 'drain',
  sentence:
    'A process that is told to stop (SIGTERM) while events are published sends every client what was acknowledged, then $closing.',
  needs: ['process'],
  readers: 'raw',
  async prove(trial) {
    const { target, poster } = trial.session;
    const topic = trial.topic();
    const readings = [await topic.open(), await topic.open(), await topic.open()];
    const earlier = topic.ledger.acknowledged.length;
    let stopped = false;
    let published = 0;
    let due: number[] = [];
    const tryPublish = async (): Promise<boolean> => {
      try {
        return (await topic.tryPublish()).status < 300;
      } catch {
        return false;
      }
    };
    const lanes = Array.from({ length: 4 }, async () => {
      // Until it is refused: the process has stopped.
      while (published < trial.atMost(10_000) && (await tryPublish())) published += 1;
    });
    const begun = trial.int(5, trial.atMost(80));
    await trial.eventually(() => published >= begun, `${begun} events are published`);
    due = topic.ledger.acknowledged.slice(earlier);
    const terminated = target.process?.terminate().then(() => (stopped = true));
    await Promise.all(lanes);
    await terminated;
    poster.close();
    await target.process?.start();
    demand(stopped, 'the process did not stop');
    for (const reading of readings) {
      demand(await reading.until(({ ended }) => ended, trial.session.deadlineMs), 'a stream did not end');
      demandWitnessed(topic, reading, due);
      const last = reading.events.at(-1);
      demand(last?.name === '$closing', `the last event was ${last?.name}, not $closing`);
      demand(JSON.parse(last.data).comeBack === true, `$closing says ${last.data}`);
    }
    // Whatever was acknowledged later: who comes back gets it, or is told.
    const back = await topic.open({ header: readings[0]?.cursor });
    const next = await topic.publish();
    await topic.await(back, next);
    const given = new Set([...topic.received(readings[0] ?? back), ...topic.received(back)]);
    const silent = topic.ledger.acknowledged.slice(earlier).filter((number) => number !== next && !given.has(number));
    demand(
      silent.length === 0 || given.has('gap'),
      `lost in silence: ${silent.join(', ')}, acknowledged while the process stopped`,
    );
  },
};
