/** Proves that the import rules can fail: a small house full of offences, linted with the project's own rules. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';

const project = fileURLToPath(new URL('../../', import.meta.url));
const imports = 'eslint(no-restricted-imports)';
const circle = 'import(no-cycle)';

type Offence = [file: string, source: string, rule: string];

/** Files of a house in order; between them they use every import that is allowed. */
const clean: Record<string, string> = {
  'libs/protocol/src/index.ts': `export * from './frame.js';`,
  'libs/protocol/src/frame.ts': `export * from './wire/cursor.js';`,
  'libs/protocol/src/frame.spec.ts': from('./frame.js', '@jest/globals', 'fast-check', '@sse-channels/testing'),
  'libs/protocol/src/wire/cursor.ts': `export type Cursor = string;`,
  'libs/client/src/index.ts': from('./client.js', '@sse-channels/protocol'),
  'libs/client/src/client.ts': `export const client = 1;`,
  'libs/react/src/index.ts': from('./use-channel.js', '@sse-channels/client', 'react'),
  'libs/react/src/use-channel.ts': `export const useChannel = 1;`,
  'libs/react/src/use-channel.spec.ts': from(
    './use-channel.js',
    '@jest/globals',
    'react-dom/server',
    '@sse-channels/client',
  ),
  'libs/engine/src/index.ts': from('./bus/bus.js', './hub/hub.js', '@sse-channels/protocol'),
  'libs/engine/src/backplane/backplane.ts': from('@sse-channels/protocol', 'node:crypto', 'node:fs/promises'),
  'libs/engine/src/bus/bus.ts': from('rxjs', 'node:events', '../backplane/backplane.js', '@sse-channels/protocol'),
  'libs/engine/src/bus/bus.spec.ts': from('./bus.js', '@jest/globals', '@nestjs/common', '@sse-channels/testing'),
  'libs/engine/src/codec/codec.ts': from('../backplane/backplane.js', '@sse-channels/protocol', 'rxjs'),
  'libs/engine/src/connection/connection.ts': from('../backplane/backplane.js', './sink/sink.js'),
  'libs/engine/src/connection/sink/sink.ts': `export const sink = 1;`,
  'libs/engine/src/hub/hub.ts': from('../connection/connection.js', '../backplane/backplane.js', './feed.js'),
  'libs/engine/src/hub/feed.ts': `export const feed = 1;`,
  'libs/engine/src/nodes/nodes.ts': from('../backplane/backplane.js', '../directory/directory.js', 'node:os'),
  'libs/engine/src/directory/directory.ts': `export const directory = 1;`,
  'libs/nest/src/index.ts': from('@sse-channels/engine', '@sse-channels/protocol', './sse-channels.module.js'),
  'libs/nest/src/sse-channels.module.ts': from('@nestjs/common', 'express', 'node:http'),
  'libs/nest/src/sse-channels.module.spec.ts': from('@sse-channels/testing', '@nestjs/testing'),
  'libs/redis/src/index.ts': from('@sse-channels/engine', 'redis'),
  'libs/nats/src/index.ts': from('@sse-channels/engine', 'nats'),
  'libs/testing/src/index.ts': from('@sse-channels/engine', '@jest/globals'),
  'apps/sample/src/main.ts': from('@sse-channels/nest', './app.module.js', '@nestjs/core'),
  'apps/sample/src/app.module.ts': `export const app = 1;`,
  'test/end-to-end.spec.ts': from('@sse-channels/nest', '@sse-channels/client', '../apps/sample/src/app.module.js'),
  'bench/fan-out.mjs': from('@sse-channels/nest', '@sse-channels/redis'),
};

/** What no file of a lib may do, wherever it lies and be it a spec. */
const everywhere = [
  ...['protocol', 'client', 'react', 'nest', 'redis', 'nats', 'testing'].map((lib) => `libs/${lib}/src`),
  ...['', '/bus', '/hub', '/connection', '/nodes', '/backplane', '/codec'].map((folder) => `libs/engine/src${folder}`),
].flatMap((folder): Offence[] => {
  const lib = folder.split('/')[1];
  const toSource = folder.endsWith('/src') ? './' : '../';
  return ['.ts', '.spec.ts'].flatMap((kind): Offence[] => [
    [`${folder}/own-index${kind}`, from(`${toSource}index.js`), imports],
    [`${folder}/own-name${kind}`, from(`@sse-channels/${lib}`), imports],
    [
      `${folder}/by-path${kind}`,
      from(`${toSource}../../${lib === 'engine' ? 'nest' : 'engine'}/src/index.js`),
      imports,
    ],
    [`${folder}/sideways-or-up${kind}`, from(`@sse-channels/${lib === 'nest' ? 'redis' : 'nest'}`), imports],
    [
      `${folder}/to-the-other-wing${kind}`,
      from(`@sse-channels/${lib === 'client' || lib === 'react' ? 'engine' : 'client'}`),
      imports,
    ],
  ]);
});

/** One offence per file: where, what, and the rule that must see it. */
const offences: Offence[] = [
  ...everywhere,
  // protocol imports nothing
  ['libs/protocol/src/package.ts', from('rxjs'), imports],
  ['libs/protocol/src/builtin.ts', from('node:crypto'), imports],
  ['libs/protocol/src/bare-builtin.ts', from('events'), imports],
  ['libs/protocol/src/type-only.ts', `export type { Observable } from 'rxjs';`, imports],
  ['libs/protocol/src/dynamic.ts', `export const rx = import('rxjs');`, imports],
  ['libs/protocol/src/required.ts', `export const rx = require('rxjs') as unknown;`, 'typescript(no-require-imports)'],
  ['libs/protocol/src/in-a-type.ts', `export type Rx = typeof import('rxjs');`, 'typescript(consistent-type-imports)'],
  // client imports protocol
  ['libs/client/src/package.ts', from('eventsource'), imports],
  ['libs/client/src/builtin.ts', from('node:stream'), imports],
  ['libs/client/src/up-to-react.ts', from('@sse-channels/react'), imports],
  ['libs/client/src/up-to-react.spec.ts', from('@sse-channels/react'), imports],
  // react imports client and React, of which it needs no renderer
  ['libs/react/src/package.ts', from('react-dom'), imports],
  ['libs/react/src/builtin.ts', from('node:stream'), imports],
  ['libs/react/src/past-the-client.ts', from('@sse-channels/protocol'), imports],
  // engine knows neither Nest nor HTTP, in none of its folders
  ...['@nestjs/common', 'express', 'fastify', 'class-validator', 'http'].map(inEngine('package')),
  ...['node:http', 'node:http2', 'node:https', 'node:net'].map(inEngine('network')),
  ...['', 'bus/', 'hub/', 'connection/', 'nodes/', 'backplane/', 'codec/'].map((folder): Offence => [
    `libs/engine/src/${folder}nest.ts`,
    from('@nestjs/common'),
    imports,
  ]),
  ['libs/engine/src/up-to-testing.ts', from('@sse-channels/testing'), imports],
  ['libs/engine/src/deep.ts', from('@sse-channels/protocol/dist/esm/frame.js'), imports],
  // bus and hub meet in the backplane only; connection imports neither; nodes and they meet in the directory only
  ...[
    ['bus', 'hub'],
    ['bus', 'connection'],
    ['hub', 'bus'],
    ['connection', 'bus'],
    ['connection', 'hub'],
    ['backplane', 'bus'],
    ['backplane', 'hub'],
    ['codec', 'connection'],
    ['bus', 'nodes'],
    ['hub', 'nodes'],
    ['connection', 'nodes'],
    ['directory', 'nodes'],
    ['nodes', 'bus'],
    ['nodes', 'hub'],
    ['nodes', 'connection'],
  ].flatMap(([folder, to]): Offence[] => [
    [`libs/engine/src/${folder}/to-${to}.ts`, from(`../${to}/${to}.js`), imports],
    [`libs/engine/src/${folder}/to-${to}-type.ts`, `export type * from '../${to}/${to}.js';`, imports],
    [`libs/engine/src/${folder}/to-${to}.spec.ts`, from(`../${to}/${to}.js`), imports],
    [`libs/engine/src/${folder}/deeper/to-${to}.ts`, from(`../../${to}/${to}.js`), imports],
  ]),
  // floor 3 does not lean on its neighbours
  ['libs/nest/src/to-testing.ts', from('@sse-channels/testing'), imports],
  ['libs/nats/src/to-redis.ts', from('@sse-channels/redis'), imports],
  ['libs/redis/src/to-nats.spec.ts', from('@sse-channels/nats'), imports],
  // nobody reaches into a lib, no lib reaches out of the libs
  ['libs/nest/src/to-app.ts', from('../../../apps/sample/src/app.module.js'), imports],
  ['libs/nest/src/to-test.ts', from('../../../test/server.js'), imports],
  ['apps/sample/src/by-path.ts', from('../../../libs/engine/src/bus/bus.js'), imports],
  ['test/by-path.spec.ts', from('../libs/engine/src/bus/bus.js'), imports],
  ['bench/deep.mjs', from('@sse-channels/engine/dist/esm/bus/bus.js'), imports],
  ['libs/nest/src/own-folder.ts', from('.'), imports],
  // circles
  ['libs/engine/src/hub/round-a.ts', from('./round-b.js'), circle],
  ['libs/engine/src/hub/round-b.ts', from('./round-a.js'), circle],
  ['libs/nest/src/type-round-a.ts', `import type { B } from './type-round-b.js';\nexport type A = B | 1;`, circle],
  ['libs/nest/src/type-round-b.ts', `import type { A } from './type-round-a.js';\nexport type B = A[];`, circle],
  // what would hide an offence
  ['libs/nest/src/in-a-type.ts', `export type Rx = import('@sse-channels/redis').Rx;`, 'import-rules'],
  [
    'libs/nest/src/switched-off.ts',
    `// oxlint-disable no-restricted-imports -- once\nexport const a = 1;`,
    'import-rules',
  ],
  ['libs/nest/src/all-off.ts', `/* oxlint-disable */\nexport const a = 1;`, 'import-rules'],
  // names, and that the rules with type information run at all
  ['libs/engine/src/hub/utils.ts', `export const a = 1;`, 'file-name'],
  ['libs/engine/src/types/frame.ts', `export const a = 1;`, 'file-name'],
  ['libs/nest/src/sse.constants.ts', `export const a = 1;`, 'file-name'],
  ['libs/engine/src/engine.module.ts', `export const a = 1;`, 'file-name'],
  [
    'libs/nest/src/floating.ts',
    `export const go = (a: Promise<void>): void => {\n  a;\n};`,
    'typescript(no-floating-promises)',
  ],
];

describe('the import rules', () => {
  const houses: string[] = [];
  afterAll(() => houses.forEach((house) => rmSync(house, { recursive: true })));

  const house = (files: Record<string, string>): string => {
    const root = mkdtempSync(join(tmpdir(), 'house-'));
    houses.push(root);
    for (const file of ['.oxlintrc.json', 'tsconfig.json']) cpSync(join(project, file), join(root, file));
    symlinkSync(join(project, 'node_modules'), join(root, 'node_modules'));
    spawnSync('git', ['init', '--quiet'], { cwd: root });
    for (const [file, source] of Object.entries(files)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), `${source}\n`);
    }
    return root;
  };

  describe('in a house with one offence per file', () => {
    const { status, rules } = lint(house({ ...clean, ...Object.fromEntries(offences) }));

    it.each(offences)('see %s', (file, _source, rule) => {
      expect(rules(file)).toContain(rule);
    });

    it('leave the files that offend nothing alone', () => {
      expect(Object.keys(clean).flatMap((file) => rules(file))).toEqual([]);
    });

    it('fail the run', () => {
      expect(status).toBe(1);
    });
  });

  it('pass a house in order', () => {
    const root = house(clean);

    const { status, output } = lint(root);

    expect({ status, output }).toEqual({
      status: 0,
      output: `oxlint read ${Object.keys(clean).length} of ${Object.keys(clean).length} files: 0 problems\n`,
    });
  });

  it('fail a house in order of which the linter reads less than there is', () => {
    const root = house(clean);
    const config = join(root, '.oxlintrc.json');
    writeFileSync(config, readFileSync(config, 'utf8').replace('{', '{ "ignorePatterns": ["libs/engine/src/hub"],'));

    const { status, output } = lint(root);

    expect(status).toBe(1);
    expect(output).toContain('not read: libs/engine/src/hub/feed.ts\n    not read: libs/engine/src/hub/hub.ts\n');
  });
});

function from(...specifiers: string[]): string {
  return specifiers.map((specifier, index) => `export * as _${index} from '${specifier}';`).join('\n');
}

function inEngine(kind: string): (specifier: string, index: number) => Offence {
  return (specifier, index) => [`libs/engine/src/${kind}-${index}.ts`, from(specifier), imports];
}

function lint(root: string): { status: number | null; output: string; rules: (file: string) => string[] } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(project, '.ci/lint.mjs')], {
    cwd: root,
    encoding: 'utf8',
  });
  const output = stderr + stdout;
  const findings = [...output.matchAll(/^(\S+?):\d+:\d+ .*\[(.+)\]$/gm)];
  return { status, output, rules: (file) => findings.filter(([, at]) => at === file).map(([, , rule = '']) => rule) };
}
