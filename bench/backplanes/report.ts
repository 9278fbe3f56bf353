/** `BACKPLANES.md`: of each scenario the last run that was written, with all that is needed to do it again. */
import { pageOf, runOf, upperFirst } from '../page.js';
import { peerVersions } from '../peer-packages.js';
import { failures, markdownTable } from '../table.js';
import { reached } from './reach.js';
import { columnsOf, type Result } from './result.js';
import { SCENARIOS } from './scenario.js';

/** Of the peers' packages, those that take part. */
const PEERS = ['@orpc/experimental-publisher', '@socket.io/redis-streams-adapter', 'ioredis', 'redis', 'socket.io'];

export interface ReportOptions {
  readonly results: readonly Result[];
  readonly command: string;
  readonly machine: string;
  /** The engines' names and versions. */
  readonly engines: readonly string[];
  /** The page as it is, whose sections stay where a scenario was not run; empty where there is none. */
  readonly before: string;
}

export function report({ results, command, machine, engines, before }: ReportOptions): string {
  const versions = PEERS.map((name) => `${name} ${peerVersions()[name]}`);
  const sections = results.map((result) => {
    const { scenario, size } = result;
    const paragraphs = [
      `${upperFirst(scenario.title(size))}. Compared: ${scenario.figure}.`,
      markdownTable(columnsOf(result), result.rows, failures(result)),
      ...reached([result]).map((line) => `**${upperFirst(line)}.**`),
      runOf(command, machine, [...engines, ...versions]),
    ];
    return [scenario.name, paragraphs] as const;
  });
  const scenarios = SCENARIOS.map(({ name }) => name);
  return pageOf({ title: 'Backplanes', scenarios, sections: new Map(sections), before });
}
