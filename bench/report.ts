/** `RESULTS.md`: of each scenario the last run that was written, with all that is needed to do it again. */
import { pageOf, runOf, upperFirst } from './page.js';
import { peerVersions } from './peer-packages.js';
import { reachOf } from './reach.js';
import { ratiosOf, type Result } from './result.js';
import { SCENARIOS } from './scenario.js';
import { columnsOf, failures, markdownTable } from './table.js';

export interface ReportOptions {
  readonly results: readonly Result[];
  readonly command: string;
  readonly machine: string;
  /** The page as it is, whose sections stay where a scenario was not run; empty where there is none. */
  readonly before: string;
}

export function report({ results, command, machine, before }: ReportOptions): string {
  const versions = Object.entries(peerVersions()).map(([name, version]) => `${name} ${version}`);
  const sections = results.map((result) => {
    const { scenario, size } = result;
    const paragraphs = [
      `${upperFirst(scenario.title(size))}. Compared: ${scenario.figure}.`,
      markdownTable(columnsOf(result), result.rows, failures(result)),
      markdownTable(
        [
          { head: 'ratio', cell: ([name]) => name },
          { head: 'ours over theirs', cell: ([, ratio]) => String(ratio) },
          { head: 'should be', cell: ([name, ratio]) => reachOf(name, ratio) },
        ],
        Object.entries(ratiosOf(result, results)),
        [],
      ),
      runOf(command, machine, versions),
    ];
    return [scenario.name, paragraphs] as const;
  });
  const scenarios = SCENARIOS.map(({ name }) => name);
  return pageOf({ title: 'Results', scenarios, sections: new Map(sections), before });
}
