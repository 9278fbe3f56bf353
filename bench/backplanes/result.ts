/** What the rounds of a scenario come to: a row for each backplane, compared round by round with the one that is its measure. */
import { rounded, spread, type Spread } from '../result.js';
import type { Size } from '../scenario.js';
import { number, type Column } from '../table.js';
import type { Outcome } from './round.js';
import type { Scenario } from './scenario.js';

export interface Row {
  readonly name: string;
  readonly rounds: number;
  /** The scenario's figure. */
  readonly value: Spread;
  /** The figure over that of the row's reference, of the same round each; null where there is none. */
  readonly ratio: Spread | null;
  readonly more: Readonly<Record<string, number>>;
  readonly counted: number;
  readonly expected: number;
  readonly wrong: number;
}

export interface Result {
  readonly scenario: Scenario;
  readonly size: Size;
  readonly rows: readonly Row[];
  /** Backplanes that failed, and what they said. */
  readonly failures: Readonly<Record<string, string>>;
}

/** @param reference what the row is compared with; undefined: nothing */
export function rowOf(name: string, outcomes: readonly Outcome[], reference: readonly Outcome[] | undefined): Row {
  const sumOf = (pick: (outcome: Outcome) => number): number => outcomes.reduce((sum, one) => sum + pick(one), 0);
  const more = Object.keys(outcomes[0]?.more ?? {}).map((key) => [
    key,
    spread(outcomes.map((one) => one.more[key] ?? 0)).median,
  ]);
  const ratios = outcomes.flatMap(({ value }, round) => {
    const measure = reference?.[round]?.value;
    return measure === undefined || !Number.isFinite(value / measure) ? [] : [value / measure];
  });
  return {
    name,
    rounds: outcomes.length,
    value: spread(outcomes.map(({ value }) => value)),
    ratio: ratios.length === 0 ? null : spread(ratios),
    more: Object.fromEntries(more) as Record<string, number>,
    counted: sumOf(({ counted }) => counted),
    expected: sumOf(({ expected }) => expected),
    wrong: sumOf(({ wrong }) => wrong),
  };
}

/** Whether a row has everything, in order. */
export function isWhole({ counted, expected, wrong }: Row): boolean {
  return counted === expected && wrong === 0;
}

export function columnsOf({ scenario, rows }: Result): Array<Column<Row>> {
  const { better, reference } = scenario;
  return [
    { head: 'backplane', cell: ({ name }) => name },
    { head: `median (${better} is better)`, cell: ({ value }) => number(value.median) },
    { head: 'min – max', cell: ({ value }) => `${number(value.min)} – ${number(value.max)}` },
    ...(reference === null
      ? []
      : [
          {
            head: reference === 'floor' ? '÷ PUBLISH' : '÷ first',
            cell: ({ ratio }: Row) => (ratio === null ? '' : number(rounded(ratio.median))),
          },
        ]),
    ...Object.keys(rows[0]?.more ?? {}).map((key): Column<Row> => ({
      head: key,
      cell: ({ more }) => number(more[key]),
    })),
    { head: 'counted / expected', cell: countedOf },
  ];
}

function countedOf(row: Row): string {
  const { counted, expected, wrong } = row;
  const counts = `${counted.toLocaleString('en')} / ${expected.toLocaleString('en')}`;
  return isWhole(row)
    ? counts
    : `${counts}, NOT ALL${wrong === 0 ? '' : `: ${wrong.toLocaleString('en')} out of place`}`;
}
