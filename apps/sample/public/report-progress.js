/** One report at a time: asked for, followed through its stream, and still there after a cut. */
import { byId, setText } from './element.js';
import { EventStream } from './event-stream.js';
import { postJson } from './request.js';

/** @typedef {{ reportId: string, percent: number, step: string, at: string }} ReportProgressed */
/** @typedef {{ reportId: string, rows: number, url: string }} ReportFinished */
/** @typedef {'idle' | 'asked' | 'running' | 'paused' | 'finished' | 'failed'} ReportState */

const rowCount = new Intl.NumberFormat('en-US');

export class ReportProgress {
  #panel = byId('report-progress', HTMLElement);
  #stateLabel = byId('report-state', HTMLElement);
  #step = byId('report-step', HTMLElement);
  #percent = byId('report-percent', HTMLElement);
  #bar = byId('report-bar', HTMLElement);
  #fill = byId('report-fill', HTMLElement);
  #result = byId('report-result', HTMLElement);
  #button = byId('report-button', HTMLButtonElement);
  #onControl;
  /** @type {EventStream | null} */
  #stream = null;
  #isCut = false;
  /** @type {ReportState} */
  #state = 'idle';

  /** @param {(name: string, data: any) => void} onControl */
  constructor(onControl) {
    this.#onControl = onControl;
    this.#button.addEventListener('click', () => void this.#run());
  }

  cut() {
    this.#isCut = true;
    this.#stream?.cut();
  }

  restore() {
    this.#isCut = false;
    this.#stream?.restore();
  }

  async #run() {
    this.#stream?.close();
    this.#stream = null;
    this.#result.replaceChildren();
    this.#showPercent(0);
    this.#show('asked', 'Asking for a report…');
    try {
      const { id } = await postJson('/reports');
      this.#follow(id);
    } catch (error) {
      this.#show('failed', `No report was made. ${/** @type {Error} */ (error).message}`);
    }
  }

  /** @param {string} id */
  #follow(id) {
    const stream = new EventStream(
      `/reports/${encodeURIComponent(id)}/progress`,
      ['report.progressed', 'report.finished'],
      {
        onEvent: (name, data) => {
          if (name === 'report.progressed') this.#onProgressed(data);
          else this.#onFinished(data);
        },
        onState: (state) => {
          if (this.#isOver()) {
            // A finished report's stream that would come back, now or at the next restore, has nothing left to say.
            if (state !== 'open') this.#leave(stream);
            return;
          }
          if (state === 'open') this.#show('running');
          else if (state === 'cut') this.#show('paused');
          else if (state === 'closed') {
            this.#show('failed', 'The stream ended before the report did.');
            this.#leave(stream);
          }
        },
        onControl: (name, data) => {
          if (name === '$error' && !data.comeBack) this.#show('failed', `The report failed: ${data.message}`);
          this.#onControl(name, data);
        },
      },
    );
    this.#stream = stream;
    setText(this.#step, `Report ${id} is on its way.`);
    // A report that is asked for while the connection is cut runs all the same; its stream waits.
    if (this.#isCut) this.#show('paused');
    else stream.restore();
  }

  /** @param {ReportProgressed} data */
  #onProgressed({ percent, step }) {
    this.#showPercent(percent);
    this.#show('running', step);
  }

  /** @param {ReportFinished} data */
  #onFinished({ reportId, rows, url }) {
    this.#showPercent(100);
    this.#show('finished', 'Finished');
    this.#result.replaceChildren(`${rowCount.format(rows)} rows · `, link(url, `report ${reportId}`));
  }

  /** @param {EventStream} stream */
  #leave(stream) {
    if (this.#stream === stream) this.#stream = null;
    stream.close();
  }

  #isOver() {
    return this.#state === 'finished' || this.#state === 'failed';
  }

  /** @param {number} percent */
  #showPercent(percent) {
    const whole = Math.round(Math.min(100, Math.max(0, percent)));
    this.#panel.dataset.percent = String(whole);
    this.#bar.setAttribute('aria-valuenow', String(whole));
    this.#fill.style.setProperty('--done', `${whole}%`);
    setText(this.#percent, `${whole} %`);
  }

  /** @param {ReportState} state @param {string} [step] */
  #show(state, step) {
    this.#state = state;
    this.#panel.dataset.state = state;
    this.#stateLabel.dataset.state = state;
    const via = state === 'running' && this.#stream?.node ? ` via ${this.#stream.node}` : '';
    setText(this.#stateLabel, state === 'paused' ? 'cut' : `${state}${via}`);
    if (step !== undefined) {
      setText(this.#step, step);
      this.#bar.setAttribute('aria-valuetext', step);
    }
    const isBusy = state === 'asked' || state === 'running' || state === 'paused';
    this.#button.disabled = isBusy;
    setText(this.#button, isBusy ? 'Running…' : state === 'idle' ? 'Run a report' : 'Run another report');
  }
}

/** A link to this site; anything else is shown as text alone. @param {string} url @param {string} text */
function link(url, text) {
  const target = URL.canParse(url, location.href) ? new URL(url, location.href) : null;
  if (target?.origin !== location.origin) return document.createTextNode(`${text} (${url})`);
  const anchor = document.createElement('a');
  anchor.href = target.href;
  anchor.target = '_blank';
  anchor.rel = 'noopener';
  anchor.textContent = text;
  return anchor;
}
