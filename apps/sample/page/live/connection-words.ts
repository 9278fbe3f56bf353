/** What the client says of its connection and of its topics, in words. */
import type { ClientGap, ConnectionState } from '@sse-channels/client';

/** A line of the log. */
export interface Saying {
  readonly name: string;
  readonly words: string;
  readonly tone: 'plain' | 'replay' | 'bad';
}

const GAPS: Readonly<Record<string, string>> = {
  trimmed: 'older records were trimmed from the log',
  reset: 'the log is a new one',
  rewound: 'the cursor lay after the end of the log',
  invalid: 'the cursor was none of this log',
  skipped: 'this page read too slowly',
};

const REASONS: Readonly<Partial<Record<ConnectionState['reason'], string>>> = {
  started: 'asked for',
  opened: 'live',
  cut: 'it ended without a word',
  silent: 'nothing came for too long',
  unreachable: 'no answer',
  refused: 'refused',
  woken: 'looked after',
  hidden: 'the page was not seen',
  drained: 'the server stops',
  expired: 'its time was over',
  revoked: 'withdrawn by the server',
  slow: 'this page read too slowly',
  done: 'done',
  failed: 'the server failed',
  'client-left': 'closed by this page',
};

/** @param node that serves the stream */
export function sayState({ status, reason, retryInMs, error }: ConnectionState, node = ''): Saying {
  const words = [
    error?.status ? `${error.status} ${error.message}` : (REASONS[reason] ?? reason),
    ...(status === 'open' && node !== '' ? [`served by ${node}`] : []),
    ...(retryInMs === null || retryInMs === 0 ? [] : [`next try in ${(retryInMs / 1000).toFixed(1)} s`]),
  ];
  const isBad = error !== undefined && status === 'closed';
  return { name: status, words: words.join(' · '), tone: isBad ? 'bad' : status === 'stale' ? 'replay' : 'plain' };
}

export function sayGap({ reason }: ClientGap): Saying {
  return { name: '$gap', words: `${GAPS[reason] ?? reason} (${reason})`, tone: 'bad' };
}
