/** What a report tells of itself while it runs: events by schema, with zod; any Standard Schema library would do. */
import { defineChannel, defineEvent } from '@sse-channels/nest';
import { z } from 'zod';

export const reportProgressed = defineEvent(
  'report.progressed',
  z.object({
    reportId: z.uuid(),
    tick: z.number().int(),
    percent: z.number().min(0).max(100),
    step: z.string(),
    rows: z.number().int(),
    at: z.iso.datetime(),
  }),
);

export const reportFinished = defineEvent(
  'report.finished',
  z.object({ reportId: z.uuid(), rows: z.number().int(), url: z.string() }),
);

/** A topic for each report: its log is all that is known of it, on every node. */
export const reportsChannel = defineChannel('reports/:id', {
  events: [reportProgressed, reportFinished],
  replay: { maxEvents: 100, maxAgeMs: 3_600_000 },
});
