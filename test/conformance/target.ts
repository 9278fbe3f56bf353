/** The application under test, as far as it is known from outside. */

/** Where a number, a text and a topic's name go in the target's URLs and body. */
export const PLACEHOLDERS = { number: '%n', text: '%text', topic: '%topic' } as const;

/** A process of the target that the suite may end and start again, on the same port. */
export interface TargetProcess {
  /** SIGTERM; resolves when it has ended. */
  terminate(): Promise<void>;
  /** SIGKILL; resolves when it has ended. */
  kill(): Promise<void>;
  /** Starts it again; resolves when it answers. */
  start(): Promise<void>;
}

export interface Target {
  readonly name: string;
  /** Of the stream; with `%topic` in it each claim gets topics of its own. */
  readonly streamUrl: string;
  /** Where an event is published by a POST; with `%topic` as in the stream's URL. */
  readonly publishUrl: string;
  /** The JSON that is posted: `%n` becomes the event's number, `%text` a JSON string. */
  readonly body: string;
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>;
  /** How many events the log of a topic keeps; null where that is not known. */
  readonly retainedEvents: number | null;
  /** Whether the log is lost with the process, or outlasts it. */
  readonly log: 'memory' | 'lasting';
  /** Of the process that holds the connections, on this machine. */
  pid?(): number | null;
  readonly process?: TargetProcess;
}

/** What a target may lack; a claim that needs it is left out and says so with these words. */
export const NEEDS = {
  topics: 'it needs topics of its own: put %topic into --stream and --publish',
  text: 'it needs an event with text: put %text into --body',
  retained: 'it needs to know how many events the log keeps: --retained',
  pid: 'it needs the process that holds the connections, on a machine with /proc: --pid or --start',
  process: 'it needs to end the application and start it again: --start',
  plainHttp: 'it needs a target without TLS: it cuts connections on their way',
} as const;

export type Need = keyof typeof NEEDS;

const LACKS: Readonly<Record<Need, (target: Target) => boolean>> = {
  topics: ({ streamUrl, publishUrl }) => ![streamUrl, publishUrl].every((url) => url.includes(PLACEHOLDERS.topic)),
  text: ({ body }) => !body.includes(PLACEHOLDERS.text),
  retained: ({ retainedEvents }) => retainedEvents === null,
  pid: ({ pid }) => process.platform !== 'linux' || (pid?.() ?? null) === null,
  process: (target) => target.process === undefined,
  plainHttp: ({ streamUrl }) => !streamUrl.startsWith('http:'),
};

export function lacks(target: Target, need: Need): boolean {
  return LACKS[need](target);
}

/** What an event's data holds at the places where the body has its placeholders. */
export interface Payload {
  readonly number: unknown;
  readonly text: unknown;
}

/** Finds the number and the text in an event's data: where they were in the body, unless the caller says where. */
export function payloadReader(body: string, numberAt?: string): (data: string) => Payload {
  const template: unknown = JSON.parse(fill(body, NUMBER_MARK, TEXT_MARK));
  const number = numberAt?.split('.') ?? pathOf(template, NUMBER_MARK);
  const text = pathOf(template, TEXT_MARK);
  if (number === null)
    throw new Error(`The body ${body} has no ${PLACEHOLDERS.number}: it says where the number goes.`);
  return (data) => {
    const value: unknown = JSON.parse(data);
    return { number: at(value, number), text: text === null ? undefined : at(value, text) };
  };
}

const NUMBER_MARK = 7_777_777;
const TEXT_MARK = 'conformance text';

/** The body of one event. */
export function fill(body: string, number: number, text: string): string {
  return body
    .replaceAll(PLACEHOLDERS.text, () => JSON.stringify(text))
    .replaceAll(PLACEHOLDERS.number, () => String(number));
}

function pathOf(value: unknown, wanted: unknown): string[] | null {
  if (value === wanted) return [];
  if (typeof value !== 'object' || value === null) return null;
  for (const [key, inner] of Object.entries(value)) {
    const path = pathOf(inner, wanted);
    if (path !== null) return [key, ...path];
  }
  return null;
}

function at(value: unknown, path: readonly string[]): unknown {
  let found = value;
  for (const key of path) found = (found as Record<string, unknown> | null | undefined)?.[key];
  return found;
}
