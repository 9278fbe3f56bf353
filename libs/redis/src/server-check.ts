/** Looks whether a server is new enough, and set up so that it keeps what it acknowledges. */
import { SseChannelsError } from '@sse-channels/protocol';
import type { Link } from './link.js';

const MB = 1_048_576;
/** Less than this for a subscriber's buffer, and a node that is held up for moments is cut off. */
const LEAST_PUBSUB_BYTES = 8 * MB;
const MOST_STREAM_NODE_BYTES = 1_024;

export interface ServerFindings {
  /** Keys may be removed to make room. */
  readonly evicting: boolean;
  readonly warnings: readonly string[];
}

/**
 * @param sharded whether sharded pub/sub is needed
 * @throws rejects with SseChannelsError `UNAVAILABLE` when the server is too old
 */
export async function checkVersion(link: Link, sharded: boolean): Promise<void> {
  const version = /^redis_version:(\S+)/m.exec(await link.send<string>(['INFO', 'server']))?.[1] ?? '0';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 6 || (major === 6 && minor >= 2 && !sharded)) return;
  const needed = sharded ? '7.0 or later, as a cluster needs for sharded pub/sub' : '6.2 or later';
  throw new SseChannelsError('UNAVAILABLE', `The Redis server is version ${version}; SSE Channels needs ${needed}.`);
}

export async function checkServer(link: Link): Promise<ServerFindings> {
  const memory = await link.send<string>(['INFO', 'memory']);
  const warnings: string[] = [];
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1] ?? 'noeviction';
  const limited = Number(/^maxmemory:(\d+)/m.exec(memory)?.[1] ?? 0) > 0;
  const evicting = policy !== 'noeviction' && limited;
  if (evicting) {
    warnings.push(
      `Redis removes keys when its memory is full (maxmemory-policy ${policy}): logs may vanish, and readers of topics that were quiet are told "reset". Set maxmemory-policy noeviction, or give SSE Channels a Redis of its own.`,
    );
  }
  const settings = await settingsOf(link);
  if (settings === null) {
    warnings.push(
      'The settings of Redis could not be checked, since its user may not run CONFIG GET. See to it that appendonly is yes, appendfsync is always (or that losing the last second of events is acceptable), and client-output-buffer-limit leaves pubsub at least 8mb; or allow +config|get.',
    );
    return { evicting, warnings };
  }
  const { appendonly = 'yes', appendfsync = 'always' } = settings;
  if (appendonly !== 'yes') {
    warnings.push(
      'Redis keeps no append-only file (appendonly no): acknowledged events are lost when it ends, and readers are told "rewound" or "reset". Set appendonly yes and appendfsync always.',
    );
  } else if (appendfsync !== 'always') {
    warnings.push(
      `Redis acknowledges events before they are on disk (appendfsync ${appendfsync}): the last ones can be lost when it ends, even by a kill of its process alone, and readers are then told "rewound". Set appendfsync always, which costs about as much CPU.`,
    );
  }
  const pubsub = /pubsub (\d+) (\d+) (\d+)/.exec(settings['client-output-buffer-limit'] ?? '');
  const hard = Number(pubsub?.[1] ?? 0);
  const soft = Number(pubsub?.[2] ?? 0);
  if ((hard > 0 && hard < LEAST_PUBSUB_BYTES) || (soft > 0 && soft < LEAST_PUBSUB_BYTES)) {
    warnings.push(
      `Redis cuts off a node that is behind by little (client-output-buffer-limit pubsub ${pubsub?.slice(1).join(' ')}): nothing is lost, but each time the node reads the logs of all its topics. Set client-output-buffer-limit "pubsub 32mb 8mb 60" or more.`,
    );
  }
  const nodeBytes = Number(settings['stream-node-max-bytes'] ?? 0);
  if (nodeBytes === 0 || nodeBytes > MOST_STREAM_NODE_BYTES) {
    warnings.push(
      `Each topic takes at least ${nodeBytes === 0 ? 'a node' : `${nodeBytes} bytes`} of Redis's memory (stream-node-max-bytes ${nodeBytes}). With many topics of few events set stream-node-max-bytes 512, which costs no CPU.`,
    );
  }
  return { evicting, warnings };
}

/** Null where the user may not ask. */
async function settingsOf(link: Link): Promise<Record<string, string> | null> {
  const settings: Record<string, string> = {};
  for (const name of ['appendonly', 'appendfsync', 'client-output-buffer-limit', 'stream-node-max-bytes']) {
    try {
      const answer = await link.send<Record<string, string> | string[]>(['CONFIG', 'GET', name]);
      const pairs = Array.isArray(answer) ? [[answer[0], answer[1]] as const] : Object.entries(answer);
      for (const [key, value] of pairs) if (key !== undefined && value !== undefined) settings[key] = value;
    } catch {
      return null;
    }
  }
  return settings;
}
