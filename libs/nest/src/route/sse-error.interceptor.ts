/** `SseErrorInterceptor`: routes that publish or read are answered as streams are, where the log or a limit does not let them. */
import { Inject, Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { SseChannelsError } from '@sse-channels/protocol';
import { catchError, type Observable } from 'rxjs';
import { SSE_CHANNELS_SETTINGS, type SseChannelsSettings } from '../module/options.js';
import { Exchange } from './exchange.js';
import { refusalOf } from './refusal.js';

/**
 * Makes of what this library rejects with, and a handler lets through, the exception that your filters answer: 503 with `Retry-After` where
 * the log did not confirm an event (`AppendError`) or cannot be reached, 429 with `Retry-After` where a topic takes no more events for
 * now (`RateLimitError`). The error is the exception's `cause`. Everything else stays as it is.
 *
 * @example
 * providers: [{ provide: APP_INTERCEPTOR, useClass: SseErrorInterceptor }] // for every route
 */
@Injectable()
export class SseErrorInterceptor implements NestInterceptor {
  constructor(@Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const results: Observable<unknown> = next.handle();
    if (context.getType() !== 'http') return results;
    return results.pipe(
      catchError((error: unknown) => {
        throw error instanceof SseChannelsError
          ? refusalOf(error, new Exchange(context), this.settings.retryMs)
          : error;
      }),
    );
  }
}
