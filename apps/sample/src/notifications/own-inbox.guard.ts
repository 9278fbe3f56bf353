/** Who is asking: the sample believes an `x-user` header or a `user` parameter; yours checks a session or a token. */
import {
  ForbiddenException,
  Injectable,
  UnauthorizedException,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';

interface SampleRequest {
  readonly headers: Record<string, string | undefined>;
  readonly query: Record<string, unknown>;
  readonly params: { readonly user: string };
}

/**
 * Lets users to their own inbox. A stream is a route: this guard runs before its first byte, and again at each reconnect; for a topic
 * of the live stream it runs when that is asked for.
 */
@Injectable()
export class OwnInboxGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers, query, params } = context.switchToHttp().getRequest<SampleRequest>();
    // A browser's EventSource cannot send headers. Who is signed in to several accounts names them all.
    const users = headers['x-user'] ?? query['user'];
    if (typeof users !== 'string' || !/^[a-z]{1,20}(, ?[a-z]{1,20}){0,9}$/.test(users)) {
      throw new UnauthorizedException('Say who you are: send "x-user: alice", or "?user=alice".');
    }
    if (users.split(/, ?/).includes(params.user)) return true;
    throw new ForbiddenException(`The inbox of ${params.user} is not yours.`);
  }
}
