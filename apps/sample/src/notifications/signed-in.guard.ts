/** Who is asking: the sample believes an `x-user` header or a `user` parameter; yours checks a session or a token. */
import {
  createParamDecorator,
  Injectable,
  UnauthorizedException,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';

interface SampleRequest {
  readonly headers: Record<string, string | undefined>;
  readonly query: Record<string, unknown>;
  user?: string;
}

/** Lets only signed-in users pass. A stream is a route: this guard runs before its first byte, and again at each reconnect. */
@Injectable()
export class SignedInGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<SampleRequest>();
    // A browser's EventSource cannot send headers.
    const user = request.headers['x-user'] ?? request.query['user'];
    if (typeof user !== 'string' || !/^[a-z]{1,20}$/.test(user)) {
      throw new UnauthorizedException('Say who you are: send "x-user: alice", or "?user=alice".');
    }
    request.user = user;
    return true;
  }
}

/** Injects the user that the guard let pass. */
export const CurrentUser = createParamDecorator(
  (_data: unknown, context: ExecutionContext) => context.switchToHttp().getRequest<SampleRequest>().user,
);
