/** Makes reports: jobs of a few seconds that tell how far they are, and go on when the node that began them is gone. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Injectable,
  Logger,
  NotFoundException,
  ServiceUnavailableException,
  type OnModuleDestroy,
} from '@nestjs/common';
import { EventBus, Gap, replayFrom } from '@sse-channels/nest';
import { defer, finalize, fromEvent, takeUntil, takeWhile, tap } from 'rxjs';
import { untilConfirmed } from '../log/confirmed.js';
import { reportFinished, reportProgressed, reportsChannel } from './reports.channel.js';

const STEPS = ['Collecting trades', 'Sorting by symbol', 'Computing volumes', 'Drawing charts', 'Writing pages'];
const TICKS_PER_STEP = 8;
const TICKS = STEPS.length * TICKS_PER_STEP;
const TICK_MS = 150;
/** Reports that one node works on at a time. */
const MAX_WORKING = 100;
/** A report that was silent for so long has lost its node; whoever is asked for it goes on with it. */
const SILENCE_MS = 2_000;

/** How far a report is. */
interface Progress {
  readonly tick: number;
  readonly rows: number;
}

@Injectable()
export class ReportDesk implements OnModuleDestroy {
  readonly #logger = new Logger('Reports');
  readonly #working = new Set<string>();
  readonly #closing = new AbortController();

  constructor(private readonly bus: EventBus) {}

  /**
   * Starts a report.
   * @returns its id, when the log knows it
   */
  async start(): Promise<string> {
    if (this.#working.size >= MAX_WORKING) {
      throw new ServiceUnavailableException(`This node works on ${MAX_WORKING} reports already; try again later.`);
    }
    const id = randomUUID();
    await this.#tell(id, { tick: 0, rows: 0 });
    void this.#work(id, { tick: 0, rows: 0 });
    return id;
  }

  /** @throws NotFoundException */
  async read(id: string) {
    const { events } = await this.bus.topic(reportsChannel.topic({ id })).read();
    const [first, latest] = [events[0], events.at(-1)];
    if (first?.name !== 'report.progressed' || latest === undefined) {
      throw new NotFoundException('There is no such report; start one with POST /reports.');
    }
    const { tick, at } = latest.name === 'report.progressed' ? latest.event : { tick: TICKS, at: null };
    return { id, finished: at === null, tick, rows: latest.event.rows, startedAt: first.event.at };
  }

  /** What a report tells, after a cursor of it (null: from its beginning), from whichever node. */
  progress(id: string, after: string | null) {
    return defer(() => {
      const silence = setInterval(() => void this.#takeOver(id), SILENCE_MS);
      return this.bus.stream(reportsChannel.topic({ id })).pipe(
        replayFrom(after),
        tap(() => silence.refresh()),
        takeWhile((item) => item instanceof Gap || item.name !== 'report.finished', true),
        finalize(() => clearInterval(silence)),
      );
    });
  }

  /** Goes on with a report whose node is gone, until a signal aborts. */
  watch(id: string, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.progress(id, null)
      .pipe(takeUntil(fromEvent(signal, 'abort')))
      .subscribe({ error: (error: unknown) => this.#logger.error(error) });
  }

  onModuleDestroy(): void {
    this.#closing.abort();
  }

  async #takeOver(id: string): Promise<void> {
    if (this.#working.has(id) || this.#working.size >= MAX_WORKING) return;
    const progress = await this.read(id).catch(() => null);
    if (progress !== null && !progress.finished) void this.#work(id, progress);
  }

  async #work(id: string, { tick, rows }: Progress): Promise<void> {
    if (this.#working.has(id)) return;
    this.#working.add(id);
    try {
      for (let next = tick + 1, sum = rows; next <= TICKS + 1; next += 1) {
        await sleep(TICK_MS, undefined, { signal: this.#closing.signal });
        sum += Math.ceil(Math.random() * 90);
        await this.#tell(id, { tick: next, rows: sum });
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#logger.error(error);
    } finally {
      this.#working.delete(id);
    }
  }

  /** Each tick has a key: should two nodes work on one report, it is told once all the same. */
  #tell(id: string, { tick, rows }: Progress) {
    const topic = this.bus.topic(reportsChannel.topic({ id }));
    const options = { idempotencyKey: `tick ${tick}` };
    const step = STEPS[Math.max(0, Math.ceil(tick / TICKS_PER_STEP) - 1)];
    return untilConfirmed(() => {
      if (step === undefined) {
        return topic.publish(reportFinished, { reportId: id, rows, url: `/reports/${id}` }, options);
      }
      const percent = Math.round((100 * tick) / TICKS);
      const at = new Date().toISOString();
      return topic.publish(reportProgressed, { reportId: id, tick, percent, step, rows, at }, options);
    }, this.#closing.signal);
  }
}
