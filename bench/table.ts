/** Rows as a table, for a terminal and for Markdown. */
import { ratiosOf, type Result, type Row } from './result.js';

export interface Column<R> {
  readonly head: string;
  readonly cell: (row: R) => string;
}

/** A table for a terminal. @param remarks lines below it */
export function textTable<R>(
  columns: ReadonlyArray<Column<R>>,
  rows: readonly R[],
  remarks: readonly string[],
): string {
  const cells = [columns.map(({ head }) => head), ...rows.map((row) => columns.map(({ cell }) => cell(row)))];
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => (line[index] as string).length)));
  const lines = cells.map((line) =>
    line
      .map((cell, index) => (index === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[index] as number)))
      .join('  '),
  );
  return [...lines, ...remarks].map((line) => `  ${line}`).join('\n');
}

/** A table for Markdown. @param remarks paragraphs below it */
export function markdownTable<R>(
  columns: ReadonlyArray<Column<R>>,
  rows: readonly R[],
  remarks: readonly string[],
): string {
  return [
    `| ${columns.map(({ head }) => head).join(' | ')} |`,
    `| ${columns.map((_, index) => (index === 0 ? '---' : '---:')).join(' | ')} |`,
    ...rows.map((row) => `| ${columns.map(({ cell }) => cell(row)).join(' | ')} |`),
    ...remarks.flatMap((line) => ['', line]),
  ].join('\n');
}

/** The columns of a scenario's rows. */
export function columnsOf(result: Result): Array<Column<Row>> {
  const { scenario, rows } = result;
  const ratios = ratiosOf(result);
  const latency = rows.some(({ latencyP50Ms }) => latencyP50Ms > 0);
  return [
    { head: 'server', cell: ({ server }) => server },
    {
      head: scenario.better === 'less' ? 'median (less is better)' : 'median (more is better)',
      cell: ({ value }) => number(value.median),
    },
    { head: 'min – max', cell: ({ value }) => `${number(value.min)} – ${number(value.max)}` },
    { head: 'ours ÷ it', cell: ({ server }) => number(ratios[ratioKey(scenario.name, server)]) },
    ...(latency
      ? [
          { head: 'p50 ms', cell: ({ latencyP50Ms }: Row) => number(latencyP50Ms) },
          { head: 'p99 ms', cell: ({ latencyP99Ms }: Row) => number(latencyP99Ms) },
        ]
      : []),
    { head: 'loop p99 ms', cell: ({ loopDelayP99Ms }) => number(loopDelayP99Ms) },
    { head: 'kernel %', cell: ({ kernelPercent }) => number(kernelPercent) },
    { head: 'RSS MB', cell: ({ rssMB }) => number(rssMB) },
    ...Object.keys(rows[0]?.more ?? {}).map((key): Column<Row> => ({
      head: key,
      cell: ({ more }) => number(more[key]),
    })),
    { head: 'load CPU %', cell: ({ loadCpuPercent }) => number(loadCpuPercent) },
    { head: 'delivered / expected', cell: delivered },
  ];
}

/** What is said of those that failed. */
export function failures({ failures: failed }: { readonly failures: Readonly<Record<string, string>> }): string[] {
  return Object.entries(failed).map(([name, message]) => `${name} failed: ${message}`);
}

function delivered({ delivered: got, expected, wrong, gaps }: Row): string {
  const counts = `${got.toLocaleString('en')} / ${expected.toLocaleString('en')}`;
  return wrong === 0
    ? counts
    : `${counts}, NOT ALL: ${wrong.toLocaleString('en')} connections, ${gaps.toLocaleString('en')} gaps told`;
}

function ratioKey(scenario: string, server: string): string {
  return `${scenario}/${server === 'nest-fastify' ? 'nest' : server}`;
}

/** Three digits that count, whole numbers from a thousand on. */
export function number(value: number | undefined): string {
  if (value === undefined) return '';
  if (value === 0) return '0';
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}
