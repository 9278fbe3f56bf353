/** The latest control events of all streams, newest first, in words. */
import { clockTime, element } from './element.js';

const LIMIT = 60;

/** @type {Record<string, string>} */
const GAP_WORDS = {
  trimmed: 'older records were trimmed from the log',
  reset: 'the log is a new one',
  rewound: 'the cursor lay after the end of the log',
  invalid: 'the cursor was none of this log',
};

/** A gap's reason in words. @param {string} reason */
export function gapWords(reason) {
  return GAP_WORDS[reason] ?? reason;
}

export class ControlLog {
  #list;

  /** @param {HTMLOListElement} list */
  constructor(list) {
    this.#list = list;
  }

  /**
   * @param {string} stream whose event it is, as the reader of the page calls it
   * @param {string} name
   * @param {any} data
   */
  add(stream, name, data) {
    const nowMs = Date.now();
    const entry = element(
      'li',
      { class: 'control-entry', 'data-name': name, 'data-tone': tone(name, data) },
      element('time', { class: 'control-time', datetime: new Date(nowMs).toISOString() }, clockTime(nowMs)),
      element('span', { class: 'control-stream' }, stream),
      element('code', { class: 'control-name' }, name),
      element('span', { class: 'control-words' }, words(name, data)),
    );
    this.#list.prepend(entry);
    while (this.#list.children.length > LIMIT) this.#list.lastElementChild?.remove();
  }
}

/** @param {string} name @param {any} data */
function tone(name, data) {
  if (name === '$gap' || name === '$error') return 'bad';
  if (name !== '$open') return 'plain';
  const topics = /** @type {import('./event-stream.js').OpenTopic[]} */ (data.topics);
  if (topics.some((topic) => topic.gap !== null)) return 'bad';
  return topics.some((topic) => topic.resumed) ? 'replay' : 'plain';
}

/** @param {string} name @param {any} data @returns {string} */
function words(name, data) {
  switch (name) {
    case '$open': {
      const topics = /** @type {import('./event-stream.js').OpenTopic[]} */ (data.topics);
      const places = topics.map(({ topic, resumed, gap }) =>
        gap !== null ? `${topic} with a gap: ${gap}` : resumed ? `${topic} resumed` : `${topic} from now on`,
      );
      const by = data.node === '' ? '' : ` · served by ${data.node}`;
      return `${places.join(', ') || 'a stream of this connection alone'} · connection ${data.connection}${by}`;
    }
    case '$gap':
      return `${data.topic}: ${gapWords(data.reason)} (${data.reason})`;
    case '$closing':
      return `${data.reason}; ${data.comeBack ? 'come back' : 'do not come back'}`;
    case '$error':
      return `${data.status} ${data.message}`;
    default:
      return JSON.stringify(data);
  }
}
