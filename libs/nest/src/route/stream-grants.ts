/** What the connections of a route may stay open by: their age, what the handler and `authorize` say, and the guards. */
import { ForbiddenException, HttpException, Inject, Injectable, type ExecutionContext } from '@nestjs/common';
import { FOR_EVER, type Grant } from '@sse-channels/engine';
import type { Topic } from '@sse-channels/protocol';
import { SSE_CHANNELS_SETTINGS, type SseChannelsSettings } from '../module/options.js';
import { RouteGuards } from './route-guards.js';
import type { SseRoute } from './sse-route.js';
import { describe, invalidResult } from './topic-selection.js';

@Injectable()
export class StreamGrants {
  constructor(
    private readonly guards: RouteGuards,
    @Inject(SSE_CHANNELS_SETTINGS) private readonly settings: SseChannelsSettings,
  ) {}

  /**
   * Asks `authorize` once, and says when to ask again.
   * @param expiries when what the handler returned runs out, in milliseconds since 1970
   * @throws rejects with ForbiddenException where `authorize` answers false
   */
  async grantOf(
    context: ExecutionContext,
    route: SseRoute,
    topics: readonly Topic[] = [],
    expiries: readonly number[] = [],
  ): Promise<Grant> {
    const { maxConnectionAgeMs } = this.settings;
    const authorize = route.kind === 'channel' ? route.options.authorize : undefined;
    const everyMs =
      route.options.reauthorizeMs === undefined ? this.settings.reauthorizeMs : route.options.reauthorizeMs;
    const fixed = [...expiries];
    if (maxConnectionAgeMs !== null) fixed.push(Date.now() + maxConnectionAgeMs * (1 - Math.random() / 10));
    const endsAt = async (): Promise<number | null> => {
      const ends = [...fixed];
      if (authorize !== undefined) {
        const request = context.switchToHttp().getRequest<unknown>();
        for (const topic of topics) {
          const answer = await authorize(request, topic);
          if (answer === false) throw new ForbiddenException();
          if (answer !== true) ends.push(expiryOf(answer.expiresAt));
        }
      }
      return ends.length === 0 ? null : Math.min(...ends);
    };
    if (authorize === undefined && fixed.length === 0 && everyMs === null) return FOR_EVER;
    const first = await endsAt();
    if (everyMs === null) return { endsAt: first };
    const ask = async (): Promise<number | null | false> => {
      try {
        await this.guards.activate(context);
        return await endsAt();
      } catch (error) {
        if (error instanceof HttpException && error.getStatus() < 500) return false;
        throw error;
      }
    };
    return { endsAt: first, review: { everyMs, ask } };
  }
}

function expiryOf(expiresAt: unknown): number {
  const ms = Number(expiresAt);
  if (Number.isFinite(ms)) return ms;
  throw invalidResult(`authorize answered expiresAt ${describe(expiresAt)}; give a Date or milliseconds since 1970.`);
}
