import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { MemoryBackplane } from '@sse-channels/engine';
import { compareOffsets, parseCursor, type Offset } from '@sse-channels/protocol';
import { eventually } from '@sse-channels/testing';
import { compileProgram } from '../../.ci/compile-program.mjs';

interface Writer {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly errors: string[];
}

describe('a journal between processes', () => {
  const root = mkdtempSync(join(tmpdir(), 'journal-processes-'));
  let children: ChildProcess[] = [];
  let directories = 0;

  beforeAll(() => {
    compileProgram('test/journal');
  });

  afterEach(async () => {
    await Promise.all(children.map((child) => kill(child)));
    children = [];
  });

  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it.each([true, false])(
    'loses nothing that was acknowledged when its process is killed again and again, fsync %s',
    async (fsync) => {
      const directory = directoryOf('kills');
      const acked = new Map<string, Offset>();
      const epochs = new Set<string>();
      for (let kills = 0; kills < 6; kills += 1) {
        const writer = start(directory, String(fsync));
        await eventually(() => writer.lines.length > 300 + kills * 77, 'the writer is under way', 20_000);
        await kill(writer.child);
        for (const line of writer.lines) {
          const [what, cursor = '', id = ''] = line.split(' ');
          if (what === 'ready') epochs.add(cursor);
          if (what === 'acked') acked.set(id, parseCursor(cursor)?.offset as Offset);
          if (what === 'warning') expect(line).toMatch(/was not finished, as a crash leaves it\.$/);
        }
        expect(writer.errors).toEqual([]);
      }

      const backplane = new MemoryBackplane({ journal: { directory } });
      await backplane.ready();
      const { records } = await backplane.read('log/*', null, 10_000_000);
      epochs.add(backplane.epoch);
      await backplane.close();
      const found = new Map(
        records.map(({ data, offset }) => [(JSON.parse(data) as string).split(' ')[0] ?? '', offset]),
      );
      const lost = [...acked].filter(([id, offset]) => found.get(id) !== offset);
      const heads = new Map<string, Offset>();
      const broken = records.filter(({ topic, offset, prev }) => {
        const head = heads.get(topic) ?? null;
        heads.set(topic, offset);
        return prev !== head || (head !== null && compareOffsets(head, offset) >= 0);
      });
      expect([lost, broken, epochs.size, found.size]).toEqual([[], [], 1, records.length]);
      expect(acked.size).toBeGreaterThan(1_500);
    },
    120_000,
  );

  it('is refused to a second process, with the directory and the process that has it', async () => {
    const directory = directoryOf('second');
    const first = start(directory, 'true', 'hold');
    await isReady(first);
    const second = start(directory, 'true', 'hold');
    await once(second.child, 'exit');
    expect(second.errors.join('\n')).toContain(
      `The journal in "${directory}" is in use by process ${first.child.pid}; end that first, or give each process a directory of its own.`,
    );
    const backplane = new MemoryBackplane({ journal: { directory } });
    await expect(backplane.ready()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await backplane.close();
  }, 30_000);

  it('is taken over at once from a process that was killed, by one alone of many that try', async () => {
    const directory = directoryOf('killed');
    const first = start(directory, 'true', 'hold');
    await isReady(first);
    await kill(first.child);
    const many = Array.from({ length: 4 }, () => start(directory, 'true', 'hold'));
    await eventually(
      () => many.filter(({ child }) => child.exitCode !== null).length === 3,
      'three of four were refused',
      20_000,
    );
    expect(many.filter(({ lines }) => lines.some((line) => line.startsWith('ready'))).length).toBe(1);
  }, 40_000);

  it('is taken over from a process that was killed when another has its pid now', async () => {
    const directory = directoryOf('reused');
    const first = start(directory, 'true', 'hold');
    await isReady(first);
    await kill(first.child);
    rewriteLock(directory, { pid: process.pid });
    const backplane = new MemoryBackplane({ journal: { directory } });
    await backplane.ready();
    await backplane.close();
  }, 30_000);

  it('is taken over after a while from a process of another container that shows itself no more, and not before', async () => {
    const directory = directoryOf('container');
    const first = start(directory, 'true', 'hold');
    await isReady(first);
    rewriteLock(directory, { place: 'another container' });
    const early = new MemoryBackplane({ journal: { directory } });
    await expect(early.ready()).rejects.toThrow(
      `The journal in "${directory}" is in use by process ${first.child.pid} of another container or machine;`,
    );
    await early.close();
    await kill(first.child);
    const late = new MemoryBackplane({ journal: { directory } });
    await late.ready();
    await late.close();
  }, 60_000);

  it('acknowledges nothing in a process that was stopped for so long that another took it over', async () => {
    const directory = directoryOf('stopped');
    const first = start(directory, 'true');
    await eventually(() => first.lines.length > 50, 'the writer is under way', 20_000);
    rewriteLock(directory, { place: 'another container' });
    first.child.kill('SIGSTOP');
    const second = new MemoryBackplane({ journal: { directory } });
    await second.ready();
    const { records } = await second.read('log/*', null, 10_000_000);
    const closed = once(first.child, 'close');
    first.child.kill('SIGCONT');
    await closed;
    const found = new Set(records.map(({ offset }) => offset));
    const acked = first.lines.filter((line) => line.startsWith('acked')).map((line) => line.split(' ')[1] ?? '');
    expect(acked.filter((cursor) => !found.has(parseCursor(cursor)?.offset ?? ''))).toEqual([]);
    expect(first.errors.join('\n')).toContain('AppendError');
    await second.close();
    const third = new MemoryBackplane({ journal: { directory } });
    await third.ready();
    expect((await third.read('log/*', null, 10_000_000)).records.length).toBeGreaterThanOrEqual(records.length);
    await third.close();
  }, 60_000);

  function directoryOf(name: string): string {
    return join(root, `${name}-${(directories += 1)}`);
  }

  function start(...options: string[]): Writer {
    const child = spawn(process.execPath, ['test/journal/dist/test/journal/writer.js', ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    const writer: Writer = { child, lines: [], errors: [] };
    createInterface({ input: child.stdout }).on('line', (line) => writer.lines.push(line));
    createInterface({ input: child.stderr }).on('line', (line) => writer.errors.push(line));
    return writer;
  }

  function isReady({ lines, errors }: Writer): Promise<void> {
    return eventually(
      () => lines.some((line) => line.startsWith('ready')),
      `the writer is ready: ${errors.join('\n')}`,
      20_000,
    );
  }
});

/** Makes the lock say something else of who holds it. */
function rewriteLock(directory: string, changed: { readonly pid?: number; readonly place?: string }): void {
  const lock = join(directory, readdirSync(directory).find((name) => name.startsWith('lock-')) ?? '');
  const holder = JSON.parse(readFileSync(lock, 'utf8')) as object;
  writeFileSync(lock, JSON.stringify({ ...holder, ...changed }));
}

/** Kills a process; resolves when it is gone and all that it said was read. */
async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGKILL');
  await closed;
}
