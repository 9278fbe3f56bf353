/** `npm run conformance`: tries every claim against your application, or against the suite's own on both adapters. */
import { AppProcess } from './app-process.js';
import { parseCommandLine, USAGE, type AppOnCommandLine, type CommandLine } from './command-line.js';
import { ADAPTERS } from './own-app.js';
import { startOwnProcess, type RunningTarget } from './own-target.js';
import { findReaders } from './readers/all-readers.js';
import { reportLines, summary } from './report.js';
import { chosen, runSuite, type Outcome } from './suite.js';
import { lacks, NEEDS } from './target.js';

/** What this file was compiled to, and the own application with it. */
const COMPILED = new URL('../../', import.meta.url).pathname;

let code = 2;
try {
  const words = process.argv.slice(2);
  const commandLine = parseCommandLine(words, Date.now() % 1_000_000);
  if (commandLine === 'help') console.log(USAGE);
  code = commandLine === 'help' ? 0 : await run(commandLine, words);
} catch (error) {
  console.error((error as Error).message);
}
// Everything is closed by now. Left to end by itself, Node 20 was seen to spin for minutes after its "exit" event, one run in four.
process.exit(code);

async function run(commandLine: CommandLine, words: readonly string[]): Promise<number> {
  const { app, list } = commandLine;
  const starts =
    app === null ? ADAPTERS.map((adapter) => () => startOwnProcess(adapter, COMPILED)) : [() => userTarget(app, !list)];
  if (list) {
    const { target } = app === null ? { target: undefined } : await userTarget(app, false);
    for (const { name, sentence, needs = [] } of chosen(commandLine.only)) {
      console.log(`${name}: ${sentence}`);
      for (const need of needs)
        if (target !== undefined && lacks(target, need)) console.log(`  left out: ${NEEDS[need]}`);
    }
    return 0;
  }
  const readers = findReaders().filter(
    ({ name }) =>
      commandLine.readers.length === 0 ||
      commandLine.readers.some((part) => name.toLowerCase().includes(part.toLowerCase())),
  );
  const outcomes: Outcome[] = [];
  const replay = `npm run conformance -- ${replayed(words)}`;
  try {
    for (const start of starts) {
      const { target, complaints, stop } = await start();
      try {
        console.log(`\n${target.name}; seed ${commandLine.seed}, ${commandLine.seeds} of them\n`);
        const found = await runSuite(
          {
            target,
            readers,
            only: commandLine.only,
            seed: commandLine.seed,
            seeds: commandLine.seeds,
            size: commandLine.short ? 'short' : 'full',
            deadlineMs: commandLine.deadlineMs,
            patienceMs: commandLine.patienceMs,
            ...(app?.numberAt === undefined ? {} : { numberAt: app.numberAt }),
          },
          (outcome) => {
            for (const line of reportLines(outcome, replay.trim())) console.log(line);
          },
        );
        console.log(`\n${summary(found)}`);
        if (complaints().length > 0)
          console.log(`The application spoke of errors meanwhile:\n${complaints().join('\n')}`);
        outcomes.push(...found);
      } finally {
        await stop();
      }
    }
  } finally {
    for (const reader of readers) await reader.close?.();
  }
  return outcomes.some(({ breaks }) => breaks.length > 0) ? 1 : 0;
}

async function userTarget(app: AppOnCommandLine, begin: boolean): Promise<RunningTarget> {
  const { stream, publish, body, headers, retained, log, start, pid } = app;
  const started = start === undefined ? undefined : new AppProcess(start, stream.replaceAll('%topic', 'TOPIC'));
  if (begin) await started?.start();
  return {
    target: {
      name: stream,
      streamUrl: stream,
      publishUrl: publish,
      body,
      headers,
      retainedEvents: retained,
      log,
      // Where it is not started it is only asked whether there will be one.
      pid: () => pid ?? started?.pid ?? (begin || started === undefined ? null : 0),
      ...(started === undefined ? {} : { process: started }),
    },
    complaints: () => started?.complaints ?? [],
    stop: async () => started?.terminate(),
  };
}

/** The words of the command line but for what a replay says itself, as a shell takes them. */
function replayed(words: readonly string[]): string {
  const kept: string[] = [];
  for (let n = 0; n < words.length; n += 1) {
    const word = words[n] as string;
    if (['--only', '--seed', '--seeds'].includes(word)) n += 1;
    else if (!/^--(only|seed|seeds)=/.test(word))
      kept.push(/^[\w./:@=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
  }
  return kept.join(' ');
}
