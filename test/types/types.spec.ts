/** Runs the compiler over the type tests: what is accepted there must compile, and each `@ts-expect-error` must have its error. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

const project = fileURLToPath(new URL('../../', import.meta.url));
const here = fileURLToPath(new URL('./', import.meta.url));
const compiler = createRequire(import.meta.url).resolve('typescript/lib/tsc.js');
const DEADLINE_MS = 120_000;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sse-channels-types-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What the compiler says of these files under the project's own settings. */
function diagnosticsOf(...files: string[]): string[] {
  const config = join(folder, 'tsconfig.json');
  writeFileSync(
    config,
    JSON.stringify({
      extends: join(project, 'tsconfig.json'),
      compilerOptions: {
        noEmit: true,
        rootDir: parse(folder).root,
        typeRoots: [join(project, 'node_modules/@types')],
      },
      files,
      include: [],
    }),
  );
  const { stdout, stderr, status } = spawnSync(process.execPath, [compiler, '-p', config, '--pretty', 'false'], {
    encoding: 'utf8',
    timeout: DEADLINE_MS,
  });
  const lines = (stdout + stderr).split('\n').filter((line) => line !== '' && !line.startsWith(' '));
  if (status !== 0 && lines.length === 0) throw new Error(`The compiler ended with ${status} and said nothing.`);
  return lines;
}

describe('the types of the contract', () => {
  it(
    'accept what is right and refuse every mistake',
    () => {
      const files = readdirSync(here).filter((name) => name.endsWith('.types.ts'));

      const diagnostics = diagnosticsOf(...files.map((name) => join(here, name)));

      expect(files.sort()).toEqual([
        'client.types.ts',
        'events.types.ts',
        'handlers.types.ts',
        'publish.types.ts',
        'react.types.ts',
        'streams.types.ts',
        'topics.types.ts',
      ]);
      expect(diagnostics).toEqual([]);
    },
    DEADLINE_MS,
  );

  it(
    'are looked at in earnest: a mistake, a needless expectation and a wrong comparison are all reported',
    () => {
      const file = join(folder, 'refused.ts');
      writeFileSync(
        file,
        `import { defineChannel, SseEvent, type EventBus, type Topic } from '@sse-channels/nest';
import { same, type Equal } from '${join(here, 'equal.js').replaceAll('\\', '/')}';

@SseEvent('price.changed')
class PriceChanged {
  cents!: number;
}

const prices = defineChannel('prices/:item', { events: [PriceChanged] });

export function refused(bus: EventBus): void {
  void bus.publish(prices.topic({ item: 'gold' }), PriceChanged, { cents: '1' });
  // @ts-expect-error: there is none
  void bus.publish(prices.topic({ item: 'gold' }), PriceChanged, { cents: 1 });
  same<Equal<ReturnType<typeof prices.topic>, Topic<'prices', typeof PriceChanged>>>();
  same<Equal<ReturnType<typeof prices.topic>, any>>();
  same<Equal<ReturnType<typeof prices.topic>, Topic<'prices/:item', typeof PriceChanged>>>();
}
`,
      );

      const diagnostics = diagnosticsOf(file);

      expect(diagnostics.map((line) => /refused\.ts\((\d+),\d+\): error (TS\d+)/.exec(line)?.slice(1))).toEqual([
        ['12', 'TS2322'],
        ['13', 'TS2578'],
        ['15', 'TS2344'],
        ['16', 'TS2344'],
      ]);
    },
    DEADLINE_MS,
  );
});
