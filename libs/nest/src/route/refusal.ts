/** What a request that gets no stream is answered with: the library's errors as Nest's exceptions. */
import {
  BadRequestException,
  HttpException,
  HttpStatus,
  ServiceUnavailableException,
  type HttpExceptionOptions,
} from '@nestjs/common';
import { LimitError, SseChannelsError } from '@sse-channels/protocol';
import type { Exchange } from './exchange.js';
import { jitter } from './jitter.js';

/**
 * The error for the exception filters; anything but the library's own stays as it is. Headers of the answer are set on the way.
 * @param retryMs what `Retry-After` is around
 */
export function refusalOf(error: unknown, exchange: Exchange, retryMs: number): unknown {
  if (!exchange.response.headersSent) exchange.setHeader('X-Content-Type-Options', 'nosniff');
  if (!(error instanceof SseChannelsError)) return error;
  const options: HttpExceptionOptions = { cause: error };
  const comeLater = (): void =>
    exchange.setHeader('Retry-After', String(Math.max(1, Math.ceil(jitter(retryMs) / 1000))));
  if (error.code === 'DRAINING') {
    comeLater();
    return new ServiceUnavailableException('This server is shutting down; connect again to reach another.', options);
  }
  if (error instanceof LimitError) {
    if (error.limit === 'topicsPerConnection') {
      return new BadRequestException('These are too many topics for one stream.', options);
    }
    comeLater();
    return error.limit === 'connections'
      ? new ServiceUnavailableException('This server has as many streams open as it takes; try again later.', options)
      : new HttpException(
          'Too many streams are open; close some, or try again later.',
          HttpStatus.TOO_MANY_REQUESTS,
          options,
        );
  }
  if (error.code === 'UNAVAILABLE') {
    comeLater();
    return new ServiceUnavailableException('The log of this stream cannot be reached now; try again later.', options);
  }
  if (error.code === 'INVALID_TOPIC_PARAMETER') {
    // Not the error's own text: the parameters are nearly always the request's, and it may hold a name that came with it.
    return new BadRequestException('A parameter of this stream is missing, unknown, malformed or too large.', options);
  }
  return error;
}
