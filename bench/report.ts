/** `RESULTS.md`: the last run that was written, with all that is needed to do it again. */
import { peerVersions } from './peer-packages.js';
import { reachOf } from './reach.js';
import type { Result } from './result.js';
import { columnsOf, failures, markdownTable } from './table.js';

export interface ReportOptions {
  readonly results: readonly Result[];
  readonly ratios: Readonly<Record<string, number>>;
  readonly command: string;
  readonly machine: string;
  readonly tookS: number;
}

export function report({ results, ratios, command, machine, tookS }: ReportOptions): string {
  const versions = Object.entries(peerVersions()).map(([name, version]) => `${name} ${version}`);
  const scenarios = results.map((result) => {
    const { scenario, size } = result;
    return `## ${scenario.name}\n\n${upperFirst(scenario.title(size))}. Compared: ${scenario.figure}.\n\n${markdownTable(columnsOf(result), result.rows, failures(result))}`;
  });
  const listed = Object.entries(ratios).map(([name, ratio]) => `| ${name} | ${ratio} | ${reachOf(name, ratio)} |`);
  return `<!-- Written by the bench; README.md says how to read it. -->
<!-- prettier-ignore-start -->

# Results

\`${command}\`, ${new Date().toISOString().slice(0, 10)}, ${Math.round(tookS / 60)} minutes.

${machine}. ${versions.join(', ')}.

${scenarios.join('\n\n')}

## Ratios

Ours over theirs; \`idleKiB\` and \`stalled/rssMB\` are ours as they are.

| ratio | | should be |
| --- | ---: | --- |
${listed.join('\n')}

<!-- prettier-ignore-end -->
`;
}

export function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
