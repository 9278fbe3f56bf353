/** Reads streams with Chromium's own EventSource, in an empty page of the target's origin. */
import { chromium, type Browser, type Page } from 'playwright-core';
import { Reading, urlOf, type Reader } from '../reading.js';

/** What the page tells: an event, an error that closed the source, or an opening. */
type Told = ['event', number, string, string, string] | ['opened' | 'closed', number];

export class ChromiumReader implements Reader {
  readonly name = "Chromium's EventSource";
  readonly sendsHeader = false;
  readonly reconnects = true;

  readonly #readings = new Map<number, { readonly reading: Reading; readonly answered: () => void }>();
  #browser: Promise<Browser> | undefined;
  #page: { readonly origin: string; readonly page: Promise<Page> } | undefined;
  #opened = 0;

  constructor(private readonly executablePath: string) {}

  async open(request: Parameters<Reader['open']>[0], names: readonly string[]): Promise<Reading> {
    const url = urlOf(request);
    const page = await this.#pageAt(new URL(url).origin);
    // What it asks for is the browser's own to say.
    await page.setExtraHTTPHeaders({ ...request.headers });
    const reading = new Reading();
    this.#opened += 1;
    const id = this.#opened;
    const answered = new Promise<void>((resolve) => this.#readings.set(id, { reading, answered: resolve }));
    reading.handle = {
      leave: () => {
        this.#readings.delete(id);
        reading.end();
        page.evaluate(`sources[${id}].close()`).catch(() => undefined);
      },
    };
    await page.evaluate(`readStream(${id}, ${JSON.stringify(url)}, ${JSON.stringify(names)})`);
    await answered;
    return reading;
  }

  async close(): Promise<void> {
    await (await this.#browser)?.close();
    this.#browser = this.#page = undefined;
  }

  #pageAt(origin: string): Promise<Page> {
    if (this.#page?.origin !== origin) this.#page = { origin, page: this.#newPage(origin) };
    return this.#page.page;
  }

  async #newPage(origin: string): Promise<Page> {
    this.#browser ??= chromium.launch({
      executablePath: this.executablePath,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
    });
    const page = await (await this.#browser).newPage();
    // A page of the target's origin that the target knows nothing of, with no policy of its own.
    const blank = `${origin}/conformance-page`;
    await page.route(blank, (route) => route.fulfill({ contentType: 'text/html', body: PAGE }));
    await page.exposeFunction('tell', (told: Told) => this.#tell(told));
    await page.goto(blank);
    await page.unroute(blank);
    return page;
  }

  #tell([what, id, name = '', data = '', lastEventId = '']: Told): void {
    const open = this.#readings.get(id);
    if (open === undefined) return;
    if (what === 'event') open.reading.event(name, data, lastEventId);
    if (what === 'closed') open.reading.end();
    open.answered();
  }
}

const PAGE = `<!doctype html><script>
  const sources = {};
  function readStream(id, url, names) {
    const source = (sources[id] = new EventSource(url));
    for (const name of names)
      source.addEventListener(name, (event) => tell(['event', id, name, event.data, event.lastEventId]));
    source.addEventListener('open', () => tell(['opened', id]));
    source.addEventListener('error', () => source.readyState === EventSource.CLOSED && tell(['closed', id]));
  }
</script>`;
