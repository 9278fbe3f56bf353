/** Reports: start one, watch its progress, read it. */
import { Controller, Get, Param, Post } from '@nestjs/common';
import { LastEventId, replayFrom, SseStream } from '@sse-channels/nest';
import { reportFinished, reportProgressed } from './report.events.js';
import { ReportDesk } from './report-desk.js';

@Controller('reports')
export class ReportsController {
  constructor(private readonly desk: ReportDesk) {}

  @Post()
  start() {
    const { id } = this.desk.start();
    return { id, progress: `/reports/${id}/progress` };
  }

  @SseStream(':id/progress', { events: [reportProgressed, reportFinished] })
  progress(@Param('id') id: string, @LastEventId() lastEventId: string | null) {
    return this.desk.get(id).progress.pipe(replayFrom(lastEventId));
  }

  @Get(':id')
  read(@Param('id') id: string) {
    const { finished, rows, startedAt } = this.desk.get(id);
    return { id, finished, rows, startedAt: new Date(startedAt).toISOString() };
  }
}
