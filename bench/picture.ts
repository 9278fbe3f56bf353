/** `results.svg`: bars for the CPU that a delivered event costs, light or dark as the reader's page is. */
import type { Result, Row } from './result.js';
import { number } from './table.js';

const WIDTH = 760;
const LABEL = 150;
const BAR = 18;
const STEP = 26;
const PANEL_HEAD = 46;

const NAMES: Readonly<Record<string, string>> = {
  'ours-fastify': 'SSE Channels, Fastify',
  'ours-express': 'SSE Channels, Express',
  'ours-stream': '@SseStream, Fastify',
  'ours-hub': '@SseHub of 25 topics, Fastify',
  'ours-hub-own': '@SseHub, one topic its own',
  'nest-fastify': 'Nest @Sse(), Fastify',
  'nest-express': 'Nest @Sse(), Express',
  'fastify-sse': '@fastify/sse',
  hono: 'Hono streamSSE',
  trpc: 'tRPC subscription',
  naive: 'res.write() loop',
  takeover: 'takeover in Nest',
  limit: 'limit of Node',
  nchan: 'nchan (C)',
};

/** The scenarios that are shown. */
const PANELS: Readonly<Record<string, string>> = {
  single: 'One event at a time to 1,000 connections: server CPU per delivery, µs',
  burst: 'Bursts of 10 to 1,000 connections: server CPU per delivery, µs',
};

/** @returns null where a scenario that is shown was not run */
export function picture(results: readonly Result[]): string | null {
  const run = new Set(results.map(({ scenario }) => scenario.name));
  if (!Object.keys(PANELS).every((name) => run.has(name))) return null;
  let y = 0;
  const panels = results.flatMap(({ scenario, rows }) => {
    const title = PANELS[scenario.name];
    if (title === undefined || rows.length === 0) return [];
    const sorted = [...rows].sort((one, other) => one.value.median - other.value.median);
    const drawn = `<g transform="translate(0 ${y})">${panel(title, sorted)}</g>`;
    y += PANEL_HEAD + sorted.length * STEP + 14;
    return [drawn];
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="CPU of the server per delivered event, SSE Channels and its peers">
<style>
text { fill: #1f2328 } .quiet { fill: #59636e } .bar { fill: #afb8c1 } .ours { fill: #e0234e } .title { font-weight: 600 }
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .quiet { fill: #9198a1 } .bar { fill: #545d68 } .ours { fill: #ff5c7a } }
</style>
${panels.join('\n')}
</svg>
`;
}

/** Bars are cut where one would make all others invisible. */
function panel(title: string, rows: readonly Row[]): string {
  const room = WIDTH - LABEL - 90;
  const medians = rows.map(({ value }) => value.median);
  const reference = rows.find(({ server }) => server === 'nest-express')?.value.median ?? Math.max(...medians);
  const full = Math.max(...medians.filter((median) => median <= reference * 2));
  const bars = rows.map(({ server, value }, index) => {
    const y = PANEL_HEAD + index * STEP;
    const width = Math.max(2, (Math.min(value.median, full) / full) * room);
    const cut = value.median > full ? ' →' : '';
    const kind = server.startsWith('ours-') ? 'bar ours' : 'bar';
    return `<text x="${LABEL}" y="${y + 13}" text-anchor="end">${NAMES[server] ?? server}</text><rect class="${kind}" x="${LABEL + 10}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="3"/><text class="quiet" x="${(LABEL + width + 17).toFixed(1)}" y="${y + 13}">${number(value.median)}${cut}</text>`;
  });
  return `<text class="title" x="0" y="22">${title}</text>${bars.join('\n')}`;
}
