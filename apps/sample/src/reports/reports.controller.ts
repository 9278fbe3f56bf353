/** Reports: start one, watch its progress, read it, each by whichever node answers. */
import { Controller, Get, Param, ParseUUIDPipe, Post } from '@nestjs/common';
import { LastEventId, SseChannel, SseConnection, SseStream } from '@sse-channels/nest';
import { ReportDesk } from './report-desk.js';
import { reportFinished, reportProgressed, reportsChannel } from './reports.channel.js';

@Controller('reports')
export class ReportsController {
  constructor(private readonly desk: ReportDesk) {}

  @Post()
  async start() {
    const id = await this.desk.start();
    return { id, progress: `/reports/${id}/progress` };
  }

  /** The report's topic: the stream goes on when the report is finished, since others may be carried by it. */
  @SseChannel(reportsChannel, ':id/events', { start: 'earliest' })
  async events(@Param('id', ParseUUIDPipe) id: string, @SseConnection() { signal }: SseConnection) {
    await this.desk.read(id);
    this.desk.watch(id, signal);
    return reportsChannel.topic({ id });
  }

  /** The report's progress alone: a stream of one connection, which ends with the report. */
  @SseStream(':id/progress', { events: [reportProgressed, reportFinished] })
  async progress(@Param('id', ParseUUIDPipe) id: string, @LastEventId() lastEventId: string | null) {
    await this.desk.read(id);
    return this.desk.progress(id, lastEventId);
  }

  @Get(':id')
  read(@Param('id', ParseUUIDPipe) id: string) {
    return this.desk.read(id);
  }
}
