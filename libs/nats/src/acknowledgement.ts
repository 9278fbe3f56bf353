/** What JetStream answers to an append. */
import { AttemptError } from '@sse-channels/engine';

const WRONG_LAST_SEQUENCE = new Set([10_071, 10_164]);
/** An earlier attempt is on its way into the log, and may yet fail. */
const DUPLICATE_IN_PROCESS = 10_158;
const TOO_MANY_REQUESTS = 429;

/** Where a record is. */
export interface Acknowledgement {
  readonly sequence: number;
  /** An earlier attempt had stored it. */
  readonly isDuplicate: boolean;
}

interface Answer {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly code: number; readonly err_code: number; readonly description: string };
}

/**
 * @param findOnly whether the append was one that is never written
 * @throws AttemptError where it is not stored, or not known to be
 */
export function readAcknowledgement(data: Uint8Array, findOnly: boolean): Acknowledgement {
  const { seq = 0, duplicate = false, error } = JSON.parse(Buffer.from(data).toString()) as Answer;
  if (error !== undefined) {
    const { code, err_code: errorCode, description } = error;
    const reason = `JetStream says: ${description} (${errorCode}).`;
    if (errorCode === DUPLICATE_IN_PROCESS) throw new AttemptError('unknown', reason);
    if (findOnly && WRONG_LAST_SEQUENCE.has(errorCode)) throw new AttemptError('absent', reason);
    // 500 and above is about the state of the server.
    throw new AttemptError(code >= 500 || code === TOO_MANY_REQUESTS ? 'not-executed' : 'refused', reason);
  }
  // Before 2.11 this is how the leader of a cluster says that an earlier attempt is on its way, or was and got lost.
  if (seq === 0) throw new AttemptError('unknown', 'JetStream has not yet stored an earlier attempt.');
  return { sequence: seq, isDuplicate: duplicate };
}
