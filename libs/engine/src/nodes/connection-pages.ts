/** Connections on their way to another node: in pages that a record carries. */
import type { ConnectionInfo, NodeInfo, PlacedConnectionInfo } from '../directory/connection-directory.js';
import { MAX_RECORD_BYTES, type ToldConnection } from './node-record.js';

/** The most that the topics of one connection take of a page. */
const MAX_TOPIC_BYTES = MAX_RECORD_BYTES / 2;

/** The connections in their order, as many in a page as fit; there is at least one page. */
export function* pagesOf(connections: readonly ConnectionInfo[]): Generator<readonly ToldConnection[]> {
  let page: ToldConnection[] = [];
  let bytes = 0;
  for (const connection of connections) {
    const told = cut(connection);
    const size = Buffer.byteLength(JSON.stringify(told));
    if (page.length > 0 && bytes + size > MAX_RECORD_BYTES) {
      yield page;
      page = [];
      bytes = 0;
    }
    page.push(told);
    bytes += size;
  }
  yield page;
}

/** The connection as the application is shown it. */
export function placed(connection: ConnectionInfo & { topicsLeftOut?: number }, node: NodeInfo): PlacedConnectionInfo {
  const { id, principal, address, topics, ageMs, cursor, lagEvents, writtenBytes, waitingBytes } = connection;
  return {
    id,
    principal,
    address,
    topics,
    ageMs,
    cursor,
    lagEvents,
    writtenBytes,
    waitingBytes,
    node: { id: node.id, name: node.name },
    topicsLeftOut: connection.topicsLeftOut ?? 0,
  };
}

/** Without the topics that do not fit: a hundred of four kilobytes each are more than a record. */
function cut(connection: ConnectionInfo): ToldConnection {
  let bytes = 0;
  const topics = connection.topics.filter((topic) => (bytes += topic.length + 3) <= MAX_TOPIC_BYTES);
  return { ...connection, topics, topicsLeftOut: connection.topics.length - topics.length };
}
