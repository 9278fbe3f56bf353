/** `BACKPLANES.md`: of each scenario the last run that was written, with all that is needed to do it again. */
import { peerVersions } from '../peer-packages.js';
import { upperFirst } from '../report.js';
import { failures, markdownTable } from '../table.js';
import { reached } from './reach.js';
import { columnsOf, type Result } from './result.js';
import { SCENARIOS } from './scenario.js';

/** Of the peers' packages, those that take part. */
const PEERS = ['@orpc/experimental-publisher', '@socket.io/redis-streams-adapter', 'ioredis', 'redis', 'socket.io'];
const HEAD = `<!-- Written by the bench; README.md says how to read it. -->
<!-- prettier-ignore-start -->

# Backplanes
`;
const FOOT = '<!-- prettier-ignore-end -->\n';

export interface ReportOptions {
  readonly results: readonly Result[];
  readonly command: string;
  readonly machine: string;
  /** The engines' names and versions. */
  readonly engines: readonly string[];
  /** The page as it is, whose sections stay where a scenario was not run; empty where there is none. */
  readonly before: string;
}

export function report({ results, before, ...run }: ReportOptions): string {
  const kept = before.replace(FOOT, '').split(/^(?=## )/m);
  const sections = SCENARIOS.flatMap(({ name }) => {
    const result = results.find(({ scenario }) => scenario.name === name);
    if (result !== undefined) return [section(result, run)];
    return kept.filter((text) => text.startsWith(`## ${name}\n`)).map((text) => text.trimEnd());
  });
  return [HEAD, ...sections.map((text) => `${text}\n`), FOOT].join('\n');
}

function section(result: Result, { command, machine, engines }: Omit<ReportOptions, 'results' | 'before'>): string {
  const { scenario, size } = result;
  const versions = PEERS.map((name) => `${name} ${peerVersions()[name]}`);
  return [
    `## ${scenario.name}`,
    `${upperFirst(scenario.title(size))}. Compared: ${scenario.figure}.`,
    markdownTable(columnsOf(result), result.rows, failures(result)),
    ...reached([result]).map((line) => `**${upperFirst(line)}.**`),
    `\`${command}\`, ${new Date().toISOString().slice(0, 10)}. ${machine}. ${[...engines, ...versions].join(', ')}.`,
  ].join('\n\n');
}
