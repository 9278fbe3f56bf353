/** What a report tells of itself while it runs: events by schema, with zod; any Standard Schema library would do. */
import { defineEvent } from '@sse-channels/nest';
import { z } from 'zod';

export const reportProgressed = defineEvent(
  'report.progressed',
  z.object({ reportId: z.uuid(), percent: z.number().min(0).max(100), step: z.string() }),
);

export const reportFinished = defineEvent(
  'report.finished',
  z.object({ reportId: z.uuid(), rows: z.number().int(), url: z.string() }),
);
