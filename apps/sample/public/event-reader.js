/**
 * An event stream over fetch. The browser's own EventSource reads the same streams; this reader shows the response too: which node
 * answered, or with which status none did. The format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */

/**
 * @typedef {object} Block What stood between two empty lines.
 * @property {string} name
 * @property {string | null} data null: no event, as in a heartbeat that moves the cursor on
 * @property {string | null} cursor its `id:`
 */
/**
 * @typedef {object} ReaderListener
 * @property {(response: Response) => void} onOpen
 * @property {(block: Block) => void} onBlock
 * @property {(retryMs: number) => void} onRetry
 */

/**
 * Reads one response to its end.
 * @param {URL} url
 * @param {string} cursor sent as `Last-Event-ID`; empty: none
 * @param {AbortSignal} signal
 * @param {ReaderListener} listener
 * @returns {Promise<Response>} also of an answer that was no event stream; look at its status
 * @throws where the connection broke, or was aborted
 */
export async function readEvents(url, cursor, signal, listener) {
  const headers = { Accept: 'text/event-stream', ...(cursor === '' ? {} : { 'Last-Event-ID': cursor }) };
  const response = await fetch(url, { headers, signal, cache: 'no-store' });
  if (!isEventStream(response) || response.body === null) {
    await response.body?.cancel();
    return response;
  }
  listener.onOpen(response);
  const blocks = new Blocks(listener);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return response;
    blocks.push(value);
  }
}

/** @param {Response} response */
export function isEventStream(response) {
  return response.status === 200 && (response.headers.get('Content-Type') ?? '').startsWith('text/event-stream');
}

/** The blocks of a stream, from text that may be cut anywhere. What is cut before its empty line has not come, its cursor included. */
class Blocks {
  #listener;
  #rest = '';
  #name = '';
  /** @type {string[]} */
  #data = [];
  /** @type {string | null} */
  #cursor = null;

  /** @param {ReaderListener} listener */
  constructor(listener) {
    this.#listener = listener;
  }

  /** @param {string} text */
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
  }

  /** @param {string} line */
  #take(line) {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#name = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#cursor = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.#listener.onRetry(Number(value));
  }

  #dispatch() {
    const data = this.#data.length === 0 ? null : this.#data.join('\n');
    const block = { name: this.#name || 'message', data, cursor: this.#cursor };
    this.#name = '';
    this.#data = [];
    this.#cursor = null;
    if (block.data !== null || block.cursor !== null) this.#listener.onBlock(block);
  }
}
