/** What the backplane for Redis should reach, and whether it does. */
import { verdictOf, type Bound } from '../reach.js';
import { number } from '../table.js';
import { isWhole, type Result, type Row } from './result.js';

interface Reach extends Bound {
  readonly what: string;
  readonly scenario: string;
  readonly row: string;
  readonly figure: (row: Row) => number | undefined;
}

const EVERYSEC = 'redis-everysec';

const REACHES: readonly Reach[] = [
  {
    what: "Redis's CPU per append, µs",
    scenario: 'append',
    row: EVERYSEC,
    figure: ({ more }) => more['engine µs'],
    most: 30,
  },
  {
    what: 'appends a second from one process',
    scenario: 'append',
    row: EVERYSEC,
    figure: ({ value }) => value.median,
    least: 30_000,
  },
  {
    what: 'from the append to the other node, median, over a bare PUBLISH',
    scenario: 'live',
    row: EVERYSEC,
    figure: ({ ratio }) => ratio?.median,
    most: 1.5,
  },
  {
    what: 'CPU per event with 10,000 topics over 10',
    scenario: 'topics',
    row: `${EVERYSEC}, 10,000`,
    figure: ({ ratio }) => ratio?.median,
    most: 1.2,
  },
  {
    what: '10,000 topics live again after a reconnect, ms',
    scenario: 'reconnect',
    row: `${EVERYSEC}, 0`,
    figure: ({ value }) => value.median,
    most: 1_000,
  },
];

/** A line for each that was measured. */
export function reached(results: readonly Result[]): string[] {
  return REACHES.flatMap(({ what, scenario, row: name, figure, ...bound }) => {
    const row = results.find((result) => result.scenario.name === scenario)?.rows.find((one) => one.name === name);
    const value = row === undefined || !isWhole(row) ? undefined : figure(row);
    if (value === undefined) return [];
    return [`${name.split(',', 1)[0]}: ${what}: ${number(value)}, ${verdictOf(value, bound)}`];
  });
}
