/** A report: a job of a few seconds that tells how far it is. */
import { randomUUID } from 'node:crypto';
import { formatCursor, formatOffset, type Cursor } from '@sse-channels/nest';
import { ReplaySubject, type Observable } from 'rxjs';
import { reportFinished, reportProgressed } from './report.events.js';

const STEPS = ['Collecting trades', 'Sorting by symbol', 'Computing volumes', 'Drawing charts', 'Writing pages'];
const TICKS_PER_STEP = 8;
const TICK_MS = 150;

type ReportEvent = ReturnType<typeof reportProgressed.of> | ReturnType<typeof reportFinished.of>;

/** An event with its own cursor, so that a client that comes back goes on where it was. */
interface PlacedReportEvent {
  readonly event: ReportEvent;
  readonly cursor: Cursor;
}

export class Report {
  readonly id = randomUUID();
  readonly startedAt = Date.now();
  rows = 0;
  finished = false;

  // Keeps all it told, a few dozen events, and gives them to each subscriber from the beginning.
  readonly #events = new ReplaySubject<PlacedReportEvent>();
  #told = 0;
  #ticks = 0;
  readonly #timer = setInterval(() => this.#work(), TICK_MS);

  get progress(): Observable<PlacedReportEvent> {
    return this.#events.asObservable();
  }

  /** Stops working; who is watching sees the end. */
  stop(): void {
    clearInterval(this.#timer);
    this.#events.complete();
  }

  #work(): void {
    this.#ticks += 1;
    this.rows += Math.ceil(Math.random() * 90);
    const step = STEPS[Math.floor((this.#ticks - 1) / TICKS_PER_STEP)];
    if (step !== undefined) {
      const percent = Math.round((100 * this.#ticks) / (STEPS.length * TICKS_PER_STEP));
      this.#tell(reportProgressed.of({ reportId: this.id, percent, step }));
      return;
    }
    this.finished = true;
    this.#tell(reportFinished.of({ reportId: this.id, rows: this.rows, url: `/reports/${this.id}` }));
    this.stop();
  }

  #tell(event: ReportEvent): void {
    this.#told += 1;
    this.#events.next({ event, cursor: formatCursor(this.id, formatOffset(this.#told, 0)) });
  }
}
