/** One report at a time: asked for, followed through its topic, and still there after a cut. */
import type { EventOf, HubSubscription } from '@sse-channels/client';
import type { reportsChannel } from '../../src/reports/reports.channel.js';
import { byId, setText } from '../element.js';
import { sayGap, sayState, type Saying } from '../live/connection-words.js';
import type { LiveConnection } from '../live/live-connection.js';
import { postJson } from '../request.js';

type ReportEvent = EventOf<typeof reportsChannel>;
type ReportState = 'idle' | 'asked' | 'running' | 'finished' | 'failed';

export interface ReportProgressOptions {
  readonly connection: LiveConnection;
  readonly onSaying: (of: string, saying: Saying) => void;
}

const rowCount = new Intl.NumberFormat('en-US');

export class ReportProgress {
  readonly #panel = byId('report-progress', HTMLElement);
  readonly #stateLabel = byId('report-state', HTMLElement);
  readonly #step = byId('report-step', HTMLElement);
  readonly #percent = byId('report-percent', HTMLElement);
  readonly #bar = byId('report-bar', HTMLElement);
  readonly #fill = byId('report-fill', HTMLElement);
  readonly #result = byId('report-result', HTMLElement);
  readonly #button = byId('report-button', HTMLButtonElement);
  readonly #options: ReportProgressOptions;
  #subscription: HubSubscription<typeof reportsChannel> | null = null;
  #state: ReportState = 'idle';

  constructor(options: ReportProgressOptions) {
    this.#options = options;
    this.#button.addEventListener('click', () => void this.#run());
  }

  /** The connection is another. */
  refresh(): void {
    const { status } = this.#options.connection.shown;
    // A report runs all the same while the connection is away.
    const shown = this.#state === 'running' && status !== 'open' ? 'paused' : this.#state;
    this.#panel.dataset['state'] = shown;
    this.#stateLabel.dataset['state'] = shown;
    setText(this.#stateLabel, shown === 'paused' ? status : shown);
    const isBusy = this.#state === 'asked' || this.#state === 'running';
    this.#button.disabled = isBusy;
    setText(this.#button, isBusy ? 'Running…' : this.#state === 'idle' ? 'Run a report' : 'Run another report');
  }

  async #run(): Promise<void> {
    this.#result.replaceChildren();
    this.#showPercent(0);
    this.#become('asked', 'Asking for a report…');
    try {
      const { id } = (await postJson('/reports')) as { readonly id: string };
      this.#become('running', `Report ${id} is on its way.`);
      this.#follow(id);
    } catch (error) {
      this.#become('failed', `No report was made. ${(error as Error).message}`);
    }
  }

  #follow(id: string): void {
    const { connection, onSaying } = this.#options;
    const report = (this.#subscription = connection.client.subscribe('reports/:id', { id }));
    report.on((event) => this.#take(event));
    report.onGap((gap) => onSaying('report', sayGap(gap)));
    report.onState((state) => {
      if (state.status !== 'closed') return;
      onSaying('report', sayState(state));
      if (this.#state === 'running') this.#become('failed', `The report was lost. ${state.error?.message ?? ''}`);
    });
  }

  #take(event: ReportEvent): void {
    if (event.name === 'report.progressed') {
      this.#showPercent(event.data.percent);
      this.#become('running', event.data.step);
      return;
    }
    const { reportId, rows, url } = event.data;
    this.#showPercent(100);
    this.#become('finished', 'Finished');
    this.#result.replaceChildren(`${rowCount.format(rows)} rows · `, link(url, `report ${reportId}`));
    this.#subscription?.close();
  }

  #showPercent(percent: number): void {
    const whole = Math.round(Math.min(100, Math.max(0, percent)));
    this.#panel.dataset['percent'] = String(whole);
    this.#bar.setAttribute('aria-valuenow', String(whole));
    this.#fill.style.setProperty('--done', `${whole}%`);
    setText(this.#percent, `${whole} %`);
  }

  #become(state: ReportState, step: string): void {
    this.#state = state;
    setText(this.#step, step);
    this.#bar.setAttribute('aria-valuetext', step);
    this.refresh();
  }
}

/** A link to this site; anything else is shown as text alone. */
function link(url: string, text: string): Node {
  const target = URL.canParse(url, location.href) ? new URL(url, location.href) : null;
  if (target?.origin !== location.origin) return document.createTextNode(`${text} (${url})`);
  const anchor = document.createElement('a');
  anchor.href = target.href;
  anchor.target = '_blank';
  anchor.rel = 'noopener';
  anchor.textContent = text;
  return anchor;
}
