/** An event as the hand-written servers send it. */
import type { Tick } from '../sse-server.js';

export function frameOf(event: Tick): string {
  return `id: ${event.sequence}\nevent: ticked\ndata: ${JSON.stringify(event)}\n\n`;
}

/** The part of a path after the last slash. */
export function channelOf(url: string): string {
  return url.slice(url.lastIndexOf('/') + 1);
}

/** Adds to the set of a channel. */
export function join<T>(channels: Map<string, Set<T>>, channel: string, member: T): void {
  const members = channels.get(channel);
  if (members === undefined) channels.set(channel, new Set([member]));
  else members.add(member);
}
