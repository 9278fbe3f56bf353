/** A CPU profile in a few lines: where the time of the server went, in groups, and the functions that took most of it. */
import { Session, type Profiler } from 'node:inspector/promises';

const TOP = 15;
/** What writes to sockets in the kernel, as V8 names the native functions of streams. */
const WRITES = new Set(['writev', 'writeBuffer', 'writeLatin1String', 'writeUtf8String', 'writeAsciiString']);

type Group = 'kernel write' | 'node' | 'ours' | 'bench' | 'packages' | 'garbage' | 'native' | 'idle';

/** The profiler of this process. */
export class Profiling {
  #session: Session | undefined;

  async start(): Promise<void> {
    const session = new Session();
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: 200 });
    await session.post('Profiler.start');
    this.#session = session;
  }

  async stop(): Promise<Profiler.Profile | undefined> {
    const stopped = await this.#session?.post('Profiler.stop');
    this.#session?.disconnect();
    return stopped?.profile;
  }
}

export function describeProfile({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): string {
  const selfMicros = new Map<number, number>();
  samples.forEach((id, index) => selfMicros.set(id, (selfMicros.get(id) ?? 0) + (timeDeltas[index] ?? 0)));
  const groups = new Map<Group, number>();
  const functions = new Map<string, number>();
  let busy = 0;
  for (const { id, callFrame } of nodes) {
    const micros = selfMicros.get(id) ?? 0;
    const group = groupOf(callFrame);
    if (micros === 0 || group === 'idle') continue;
    busy += micros;
    groups.set(group, (groups.get(group) ?? 0) + micros);
    const place = callFrame.url === '' ? '' : ` ${shortened(callFrame.url)}:${callFrame.lineNumber + 1}`;
    const name = `${callFrame.functionName || '(anonymous)'}${place}  [${group}]`;
    functions.set(name, (functions.get(name) ?? 0) + micros);
  }
  const line = ([name, micros]: [string, number]): string =>
    `${((micros / busy) * 100).toFixed(1).padStart(6)} %  ${name}`;
  const sorted = (map: Map<string, number>): Array<[string, number]> =>
    [...map].sort(([, one], [, other]) => other - one);
  return [
    `${(busy / 1000).toFixed(0)} ms busy`,
    ...sorted(groups).map(line),
    'functions, self time:',
    ...sorted(functions).slice(0, TOP).map(line),
  ]
    .map((text) => `    ${text}`)
    .join('\n');
}

function groupOf({ functionName, url }: Profiler.Profile['nodes'][number]['callFrame']): Group {
  // `dispatch` is the profiler itself, as it starts and stops.
  if (functionName === '(idle)' || (functionName === 'dispatch' && url === '')) return 'idle';
  if (functionName === '(garbage collector)') return 'garbage';
  if (url === '') return WRITES.has(functionName) ? 'kernel write' : 'native';
  if (url.startsWith('node:')) return 'node';
  if (url.includes('/node_modules/')) return 'packages';
  return url.includes('/libs/') ? 'ours' : 'bench';
}

function shortened(url: string): string {
  return url.replace(/^.*\/(?:node_modules|libs|bench)\//, '');
}
