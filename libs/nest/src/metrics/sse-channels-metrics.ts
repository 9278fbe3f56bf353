/** What this node has done and holds, as numbers: for a scrape, or for the metrics library of the application. */
import { Inject, Injectable } from '@nestjs/common';
import { Connections, Hub, Nodes, type Backplane, type BackplaneState, type Observer } from '@sse-channels/engine';
import type { EndReason, GapReason } from '@sse-channels/protocol';
import { SSE_CHANNELS_BACKPLANE } from '../module/options.js';

/** Counts since the process began. */
export class MetricsObserver implements Observer {
  connectionsOpened = 0;
  failures = 0;
  /** Times that the logs could no longer be reached. */
  backplaneLosses = 0;
  readonly connectionsEnded = new Map<EndReason, number>();
  readonly gapsTold = new Map<GapReason, number>();
  /** By the event's name; names are those that channels declare. */
  readonly eventsPublished = new Map<string, number>();

  connectionOpened(): void {
    this.connectionsOpened += 1;
  }

  connectionEnded(_connectionId: string, reason: EndReason): void {
    count(this.connectionsEnded, reason);
  }

  eventPublished(_topic: string, eventName: string): void {
    count(this.eventsPublished, eventName);
  }

  gapTold(_topic: string, reason: GapReason): void {
    count(this.gapsTold, reason);
  }

  backplaneChanged(state: BackplaneState): void {
    if (state === 'down') this.backplaneLosses += 1;
  }

  failed(): void {
    this.failures += 1;
  }
}

const STATES: readonly BackplaneState[] = ['live', 'catching-up', 'down'];

/**
 * Injectable. Names of metrics begin with `sse_channels_`.
 * @example
 * \@Get('metrics')
 * \@Header('Content-Type', SseChannelsMetrics.CONTENT_TYPE)
 * metrics() {
 *   return this.metrics.text();
 * }
 */
@Injectable()
export class SseChannelsMetrics {
  /** Of `text()`: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format. */
  static readonly CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

  constructor(
    private readonly counts: MetricsObserver,
    private readonly hub: Hub,
    private readonly connections: Connections,
    private readonly nodes: Nodes,
    @Inject(SSE_CHANNELS_BACKPLANE) private readonly backplane: Backplane,
  ) {}

  /** All metrics in Prometheus' text format. */
  text(): string {
    const { counts } = this;
    const { feeds, subscriptions } = this.hub.snapshot();
    const state = STATES.map((name): Sample => [{ state: name }, Number(this.backplane.state === name)]);
    return [
      metric('connections', 'gauge', 'Streams that are open on this node.', this.connections.size),
      metric('feeds', 'gauge', 'Topics that this node follows for its streams.', feeds),
      metric('subscriptions', 'gauge', 'Topics of all streams of this node.', subscriptions),
      metric('nodes', 'gauge', 'Nodes of the application that are there.', this.nodes.everywhere.nodes().length),
      metric('backplane_state', 'gauge', '1 for the state that the backplane is in.', state),
      metric('backplane_losses_total', 'counter', 'Times that the logs were lost from reach.', counts.backplaneLosses),
      metric('connections_opened_total', 'counter', 'Streams that were opened.', counts.connectionsOpened),
      metric('connections_ended_total', 'counter', 'Streams that ended.', by('reason', counts.connectionsEnded)),
      metric('events_published_total', 'counter', 'Events that a log took.', by('event', counts.eventsPublished)),
      metric('gaps_told_total', 'counter', 'Gaps that clients were told.', by('reason', counts.gapsTold)),
      metric('failures_total', 'counter', 'Failures that no caller was there to hear of.', counts.failures),
    ].join('');
  }
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

function metric(name: string, type: 'gauge' | 'counter', help: string, value: number | readonly Sample[]): string {
  const full = `sse_channels_${name}`;
  const samples: readonly Sample[] = typeof value === 'number' ? [[{}, value]] : value;
  const lines = samples.map(([labels, number]) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
    return `${full}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${number}\n`;
  });
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`;
}

function by(label: string, counts: ReadonlyMap<string, number>): Sample[] {
  return [...counts].map(([value, number]) => [{ [label]: value }, number]);
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
