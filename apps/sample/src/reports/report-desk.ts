/** The reports that were asked for lately. */
import { Injectable, NotFoundException, type OnModuleDestroy } from '@nestjs/common';
import { Report } from './report.js';

const MAX_REPORTS = 100;

@Injectable()
export class ReportDesk implements OnModuleDestroy {
  readonly #reports = new Map<string, Report>();

  /** Starts a report; the oldest one is forgotten when there are too many. */
  start(): Report {
    const report = new Report();
    this.#reports.set(report.id, report);
    if (this.#reports.size > MAX_REPORTS) {
      const [oldest] = this.#reports.values();
      oldest?.stop();
      this.#reports.delete(oldest?.id ?? '');
    }
    return report;
  }

  /** @throws NotFoundException */
  get(id: string): Report {
    const report = this.#reports.get(id);
    if (report === undefined) throw new NotFoundException('There is no such report; start one with POST /reports.');
    return report;
  }

  onModuleDestroy(): void {
    for (const report of this.#reports.values()) report.stop();
  }
}
