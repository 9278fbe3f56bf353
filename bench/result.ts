/** What the rounds of a scenario come to: a row for each server, and the ratios between them. */
import type { Outcome } from './round.js';
import { HUB, OWN_HUB, STREAM, type Scenario, type Size } from './scenario.js';

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Row {
  readonly server: string;
  readonly rounds: number;
  /** The scenario's figure. */
  readonly value: Spread;
  readonly latencyP50Ms: number;
  readonly latencyP99Ms: number;
  readonly loopDelayP99Ms: number;
  readonly rssMB: number;
  /** What of the server's CPU the kernel took. */
  readonly kernelPercent: number;
  readonly loadCpuPercent: number;
  readonly delivered: number;
  readonly expected: number;
  /** Connections in all rounds that did not get exactly what they should; such a row is in no ratio. */
  readonly wrong: number;
  /** How often connections were told of a gap. */
  readonly gaps: number;
  readonly more: Readonly<Record<string, number>>;
}

export interface Result {
  readonly scenario: Scenario;
  readonly size: Size;
  readonly rows: readonly Row[];
  /** Servers that failed, and what they said. */
  readonly failures: Readonly<Record<string, string>>;
}

export function rowOf(server: string, outcomes: readonly Outcome[]): Row {
  const medianOf = (pick: (outcome: Outcome) => number): number => spread(outcomes.map(pick)).median;
  const sumOf = (pick: (outcome: Outcome) => number): number => outcomes.reduce((sum, one) => sum + pick(one), 0);
  const more = Object.keys(outcomes[0]?.more ?? {}).map((key) => [key, medianOf((one) => one.more?.[key] ?? 0)]);
  return {
    server,
    rounds: outcomes.length,
    value: spread(outcomes.map(({ value }) => value)),
    latencyP50Ms: medianOf(({ spent }) => spent.latencyP50Ms),
    latencyP99Ms: medianOf(({ spent }) => spent.latencyP99Ms),
    loopDelayP99Ms: medianOf(({ spent }) => spent.loopDelayP99Ms),
    kernelPercent: medianOf(({ spent }) => (spent.kernelMicros / spent.cpuMicros) * 100),
    rssMB: medianOf(({ spent }) => spent.rssBytes / 1e6),
    loadCpuPercent: medianOf(({ spent }) => spent.loadCpuPercent),
    delivered: sumOf(({ spent }) => spent.delivered),
    expected: sumOf(({ spent }) => spent.expected),
    wrong: sumOf(({ spent }) => spent.wrong),
    gaps: sumOf(({ spent }) => spent.gaps),
    more: Object.fromEntries(more) as Record<string, number>,
  };
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = (sorted.length - 1) / 2;
  const median = ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2;
  return { median, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0 };
}

/**
 * Ours over theirs in a scenario, on the same adapter; for memory, ours as it is. Absent where a row is missing or lost something.
 * @param results of all scenarios that were run: some figures are compared with another one's
 */
export function ratiosOf({ scenario, rows }: Result, results: readonly Result[] = []): Record<string, number> {
  const ratios: Record<string, number> = {};
  const whole = wholeRows(rows);
  const figure = new Map(Array.from(whole, ([server, { value }]) => [server, value.median]));
  const ours = figure.get('ours-fastify');
  const express = figure.get('ours-express');
  const note = (key: string, one: number | undefined, other: number | undefined): void => {
    if (one !== undefined && other !== undefined && other !== 0) ratios[key] = rounded(one / other);
  };
  for (const [server, theirs] of figure) {
    if (server.startsWith('ours-')) continue;
    if (server === 'nest-express') note(`${scenario.name}/nest-express`, express, theirs);
    else note(`${scenario.name}/${server === 'nest-fastify' ? 'nest' : server}`, ours, theirs);
  }
  if (scenario.name === 'idle') {
    note('idleKiB/fastify', ours, 1);
    note('idleKiB/express', express, 1);
  }
  note(`hub/${scenario.name}`, figure.get(HUB), figure.get('ours-fastify'));
  note(`hub-own/${scenario.name}`, figure.get(OWN_HUB), figure.get('ours-fastify'));
  note('stream/nest', figure.get(STREAM), figure.get('nest-fastify'));
  const [own, nest] = [whole.get('ours-fastify'), whole.get('nest-fastify')];
  if (scenario.name === 'latency') note('latencyP99/nest', own?.latencyP99Ms, nest?.latencyP99Ms);
  if (scenario.name === 'idle') note('idleCpu/nest', own?.more['idle CPU %'], nest?.more['idle CPU %']);
  if (scenario.name === 'many') {
    const few = results.find((result) => result.scenario.name === 'few')?.rows ?? [];
    note('many/few', ours, wholeRows(few).get('ours-fastify')?.value.median);
  }
  if (scenario.name === 'stalled') note('stalled/rssMB', ours, 1);
  return ratios;
}

/** Those that lost nothing, by their servers. */
function wholeRows(rows: readonly Row[]): ReadonlyMap<string, Row> {
  return new Map(rows.filter(({ wrong }) => wrong === 0).map((row) => [row.server, row]));
}

export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
