/** What a request is answered with that gets no stream, or could not publish, and a client that has a stream is told: errors as Nest's exceptions. */
import {
  BadRequestException,
  HttpException,
  HttpStatus,
  ServiceUnavailableException,
  type HttpExceptionOptions,
} from '@nestjs/common';
import { AppendError, LimitError, RateLimitError, SseChannelsError, type ErrorData } from '@sse-channels/protocol';
import type { Exchange } from './exchange.js';
import { jitter } from './jitter.js';

const COME_LATER = new Set<number>([HttpStatus.SERVICE_UNAVAILABLE, HttpStatus.TOO_MANY_REQUESTS]);

/**
 * The error for the exception filters; anything but the library's own stays as it is. Headers of the answer are set on the way.
 * @param retryMs what `Retry-After` is around, where the error does not say it
 */
export function refusalOf(error: unknown, exchange: Exchange, retryMs: number): unknown {
  const exception = exceptionOf(error);
  if (exchange.response.headersSent) return exception;
  exchange.setHeader('X-Content-Type-Options', 'nosniff');
  if (exception !== error && exception instanceof HttpException && COME_LATER.has(exception.getStatus())) {
    const waitMs = (error instanceof RateLimitError ? error.retryAfterMs : null) ?? jitter(retryMs);
    exchange.setHeader('Retry-After', String(Math.max(1, Math.ceil(waitMs / 1000))));
  }
  return exception;
}

/** What a client may know of an error: what an exception filter would have told it. */
export function errorDataOf(error: unknown): ErrorData {
  const exception = exceptionOf(error);
  if (!(exception instanceof HttpException)) return { message: 'Internal server error', status: 500, comeBack: true };
  const status = exception.getStatus();
  return { message: exception.message, status, comeBack: mayComeBack(status) };
}

/** As for an ordinary request: what the client did wrong does not get better by trying again. */
export function mayComeBack(status: number): boolean {
  return status >= 500 || status === 408 || status === 429;
}

function exceptionOf(error: unknown): unknown {
  if (!(error instanceof SseChannelsError)) return error;
  const options: HttpExceptionOptions = { cause: error };
  if (error instanceof LimitError) {
    switch (error.limit) {
      case 'topicsPerConnection':
        return new BadRequestException('These are too many topics for one stream.', options);
      case 'connections':
        return new ServiceUnavailableException(
          'This server has as many streams open as it takes; try again later.',
          options,
        );
      default:
        return new HttpException(
          'Too many streams are open; close some, or try again later.',
          HttpStatus.TOO_MANY_REQUESTS,
          options,
        );
    }
  }
  if (error instanceof RateLimitError && error.retryAfterMs !== null) {
    return new HttpException('Too many events; try again later.', HttpStatus.TOO_MANY_REQUESTS, options);
  }
  if (error instanceof AppendError) {
    return new ServiceUnavailableException(
      error.outcome === 'not-written'
        ? 'This could not be published now; try again later.'
        : 'Whether this was published is not known; try again later, if twice does no harm.',
      options,
    );
  }
  switch (error.code) {
    case 'DRAINING':
      return new ServiceUnavailableException('This server is shutting down; connect again to reach another.', options);
    case 'UNAVAILABLE':
      return new ServiceUnavailableException('The log of this stream cannot be reached now; try again later.', options);
    case 'INVALID_TOPIC_PARAMETER':
      // Not the error's own text: the parameters are nearly always the request's, and it may hold a name that came with it.
      return new BadRequestException(
        'A parameter of this stream is missing, unknown, malformed or too large.',
        options,
      );
    default:
      return error;
  }
}
