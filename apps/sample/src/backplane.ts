/** Where the sample keeps its logs: what `BACKPLANE` says. */
import { MemoryBackplane, type Backplane } from '@sse-channels/nest';

/**
 * @param where `memory`, or the address of an engine; undefined: memory
 * @throws Error for what is none of these, with the list of what is known
 */
export function backplaneAt(where = 'memory'): Backplane {
  if (where === 'memory') return new MemoryBackplane();
  throw new Error(`BACKPLANE is "${where}"; it may be memory.`);
}
