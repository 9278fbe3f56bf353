/** The command line of the suite. */
import { parseArgs } from 'node:util';
import { PLACEHOLDERS } from './target.js';

export interface CommandLine {
  readonly list: boolean;
  /** Null: the own application. */
  readonly app: AppOnCommandLine | null;
  readonly only: readonly string[];
  /** Names of readers, or parts of them; all when empty. */
  readonly readers: readonly string[];
  readonly seed: number;
  readonly seeds: number;
  readonly short: boolean;
  readonly deadlineMs: number;
  readonly patienceMs: number;
}

/** The user's own application. */
export interface AppOnCommandLine {
  readonly stream: string;
  readonly publish: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly numberAt: string | undefined;
  readonly retained: number | null;
  readonly log: 'memory' | 'lasting';
  readonly start: string | undefined;
  readonly pid: number | null;
}

export const USAGE = `npm run conformance -- [options]
Without a URL the suite starts an application of its own, on Express and on Fastify.

Your application:
  --stream URL       of a stream; with %topic in it each claim gets topics of its own
  --publish URL      where a POST publishes one event; with %topic as above
  --body JSON        what is posted: %n is the event's number, %text a JSON string
                     (default {"number": %n})
  --header 'k: v'    sent with every request; may be given more than once
  --number-at path   where the number is in an event's data, dotted (default: where %n is in the body)
  --retained n       how many events the log of a topic keeps
  --log lasting      the log outlasts the process (default memory)
  --start command    starts the application, so that it can be ended and started again
  --pid n            its process, where you start it yourself

What is tried:
  --list             the claims, and those that your application leaves out
  --only a,b         claims
  --readers a,b      readers, by a part of their names
  --seed n           the first seed (default: of the clock; printed)
  --seeds n          how many seeds each claim is tried with (default 3)
  --short            smaller rows and fewer clients
  --deadline ms      how long a client waits for what must come (default 10000)
  --patience ms      the longest heartbeat interval that is waited for (default 2000)`;

/** @throws Error for what it does not know */
export function parseCommandLine(words: string[], newSeed: number): CommandLine | 'help' {
  const { values } = parseArgs({
    args: words,
    options: {
      stream: { type: 'string' },
      publish: { type: 'string' },
      body: { type: 'string', default: `{"number": ${PLACEHOLDERS.number}}` },
      header: { type: 'string', multiple: true, default: [] },
      'number-at': { type: 'string' },
      retained: { type: 'string' },
      log: { type: 'string', default: 'memory' },
      start: { type: 'string' },
      pid: { type: 'string' },
      list: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      readers: { type: 'string', default: '' },
      seed: { type: 'string' },
      seeds: { type: 'string', default: '3' },
      short: { type: 'boolean', default: false },
      deadline: { type: 'string', default: '10000' },
      patience: { type: 'string', default: '2000' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const { stream, publish, log } = values;
  if ((stream === undefined) !== (publish === undefined)) throw new Error('--stream and --publish need each other.');
  if (log !== 'memory' && log !== 'lasting') throw new Error(`--log is memory or lasting, not ${log}.`);
  return {
    list: values.list,
    app:
      stream === undefined || publish === undefined
        ? null
        : {
            stream: url('stream', stream),
            publish: url('publish', publish),
            body: values.body,
            headers: Object.fromEntries(values.header.map(headerOf)),
            numberAt: values['number-at'],
            retained: values.retained === undefined ? null : whole('retained', values.retained),
            log,
            start: values.start,
            pid: values.pid === undefined ? null : whole('pid', values.pid),
          },
    only: values.only.split(',').filter(Boolean),
    readers: values.readers.split(',').filter(Boolean),
    seed: values.seed === undefined ? newSeed : whole('seed', values.seed),
    seeds: whole('seeds', values.seeds),
    short: values.short,
    deadlineMs: whole('deadline', values.deadline),
    patienceMs: whole('patience', values.patience),
  };
}

function whole(option: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new Error(`--${option} is a whole number, not "${text}".`);
}

function url(option: string, text: string): string {
  // A placeholder is none of a URL's own escapes.
  if (URL.canParse(text.replaceAll(PLACEHOLDERS.topic, 'topic'))) return text;
  throw new Error(`--${option} is a URL such as http://localhost:3000/orders/%topic/events, not "${text}".`);
}

function headerOf(line: string): [string, string] {
  const colon = line.indexOf(':');
  if (colon < 1) throw new Error(`--header is "name: value", not "${line}".`);
  return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
}
