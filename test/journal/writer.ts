/** A process that appends to a journal flat out and prints each cursor when it is acknowledged: `node writer.js <directory> <fsync>`. */
import { writeSync } from 'node:fs';
import { MemoryBackplane } from '@sse-channels/engine';

const [directory = '', fsync = 'true', mode = 'append'] = process.argv.slice(2);
const KEEP = { maxEvents: 1_000_000, maxAgeMs: 3_600_000, maxBytes: 1_000_000_000 };
/** Appends in flight. */
const WINDOW = 64;
const TOPICS = 8;

const backplane = new MemoryBackplane({ journal: { directory, fsync: fsync === 'true', segmentBytes: 262_144 } });
await backplane.ready({ onWarning: (message) => say(`warning ${message}`) });
say(`ready ${backplane.epoch}`);
if (mode === 'append') {
  let next = 0;
  await Promise.all(
    Array.from({ length: WINDOW }, async () => {
      for (;;) {
        const n = (next += 1);
        const data = JSON.stringify(`${process.pid}.${n} ${'x'.repeat(n % 300)}`);
        const cursor = await backplane.append(`log/${n % TOPICS}`, { name: 'n', data }, KEEP);
        say(`acked ${cursor} ${process.pid}.${n}`);
      }
    }),
  );
}

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

// Holds the process, as a server would.
setInterval(() => undefined, 60_000);
