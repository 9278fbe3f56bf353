/** Whether a request came by a name, and from a page, that streams are served to: against DNS rebinding and pages of strangers. */
import type { IncomingMessage } from 'node:http';
import { ForbiddenException } from '@nestjs/common';
import type { SseChannelsSettings } from '../module/options.js';

/**
 * @throws ForbiddenException for a `Host` or an `Origin` that is not declared
 */
export function checkSender(
  { headers }: IncomingMessage,
  { allowedHosts, allowedOrigins }: Pick<SseChannelsSettings, 'allowedHosts' | 'allowedOrigins'>,
): void {
  if (allowedHosts != null) {
    // HTTP/2 has it as a pseudo-header.
    const named = headers.host ?? headers[':authority'];
    const host = typeof named === 'string' ? named.toLowerCase() : '';
    if (!allowedHosts.includes(host) && !allowedHosts.includes(host.replace(/:\d+$/, ''))) {
      throw new ForbiddenException('Streams are not served under this host name.');
    }
  }
  // Only browsers send it, and not for every request of a page's own origin.
  if (allowedOrigins != null && headers.origin !== undefined && !allowedOrigins.includes(headers.origin)) {
    throw new ForbiddenException('Streams are not served to this origin.');
  }
}
