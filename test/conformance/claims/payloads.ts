/** Claims about what is inside: names and texts that a stream's format, a parser or an object could trip over. */
import type { Claim } from '../claim.js';
import { demand } from '../finding.js';
import type { Reading } from '../reading.js';
import type { TrialTopic } from '../trial.js';

const TEXTS = [
  '',
  ' leading and trailing ',
  'Grüße, 你好, \u{1f980}\u{1f468}\u200d\u{1f469}\u200d\u{1f467}, e\u0301',
  'line\nfeed, carriage\rreturn, both\r\n',
  'line\u2028separator, paragraph\u2029separator, next\u0085line',
  'blank\n\nline\n\ndata: injected\nid: injected\n\n',
  'NUL \0 and other controls \u0001\u001b\u007f',
  '\ufeffa byte order mark',
  '__proto__',
  'constructor',
  '{"__proto__":{"polluted":true}}',
  '</script><!-- "quoted" \\ backslash \\n',
  ': a comment?',
  'retry: 1',
  'event: $closing',
  'a lone surrogate \ud800 in the middle',
  'null',
];
/** Below what most body parsers take. */
const LONG = 40_000;

export const texts: Claim = {
  name: 'texts',
  sentence:
    'Texts come through unchanged: unicode, line separators, NUL, long ones, what looks like a field of the stream.',
  needs: ['text'],
  readers: 'every',
  async prove(trial) {
    const topic = trial.topic();
    const reading = await topic.open();
    const alphabet = Array.from('abc \n\r\u2028\u0000"\\:\u{1f980}é你');
    const sent = [
      ...TEXTS,
      'x'.repeat(trial.int(1_000, LONG)),
      '\u2028\u{1f980}'.repeat(trial.int(100, 2_000)),
      ...Array.from({ length: 5 }, () => Array.from({ length: trial.int(1, 40) }, () => trial.pick(alphabet)).join('')),
    ];
    const numbers: number[] = [];
    for (const text of sent) numbers.push(await topic.publish(text));
    await topic.demandExactly(reading, numbers, 'the hostile texts');
    for (const [index, event] of topic.eventsOf(reading).entries()) {
      const { text } = trial.session.payloadOf(event.data);
      demand(text === sent[index], `${show(sent[index])} came as ${show(text)}`);
    }
  },
};

const NAMES = [
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'Grüße-你好-\u{1f980}',
  'line\u2028separator',
  'line\nfeed\r\ndata: injected',
  'NUL\0',
  'two words + plus & more=1 #hash ?query',
  'per%cent %2F',
  'slash/inside',
  '*',
  '$open',
  'x'.repeat(200),
  '\ufeffmark',
];

export const names: Claim = {
  name: 'names',
  sentence: 'A topic with a hostile name carries its own events and nobody else’s, or is refused with a status of 4xx.',
  needs: ['topics'],
  readers: 'raw',
  async prove(trial) {
    // Of this trial alone: the bare names may have events already.
    const suffix = trial.session.nextTopic();
    const opened: Array<{ readonly topic: TrialTopic; readonly reading: Reading; readonly numbers: number[] }> = [];
    for (const name of NAMES) {
      const topic = trial.topic(trial.chance(0.3) ? name : `${name}${suffix}`);
      const reading = await topic.ask();
      const status = reading.status ?? 0;
      const refused = status >= 400 && status < 500;
      demand(status === 200 || refused, `the topic ${show(topic.name)} was answered ${status}`);
      if (status === 200) opened.push({ topic, reading, numbers: [] });
    }
    for (const { topic, reading } of opened) {
      const came = await reading.until(({ events }) => events.length > 0, trial.session.deadlineMs);
      demand(came && reading.events[0]?.name === '$open', `no $open for the topic ${show(topic.name)}`);
    }
    for (let round = 0; round < 2; round += 1) {
      for (const { topic, numbers } of opened) {
        const { number, status } = await topic.tryPublish();
        demand(status < 500, `publishing on the topic ${show(topic.name)} was answered ${status}`);
        if (status < 300) numbers.push(number);
      }
    }
    for (const { topic, reading, numbers } of opened) {
      await topic.demandExactly(reading, numbers, `the topic ${show(topic.name)}`);
      demand(!reading.text.includes('\ndata: injected'), `the topic ${show(topic.name)} wrote into the stream`);
    }
  },
};

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 80)}… (${text.length} characters)` : text;
}
