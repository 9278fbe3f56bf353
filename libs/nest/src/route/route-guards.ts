/** Runs the guards of a route again while its stream is open. */
import { Injectable, type CanActivate, type ExecutionContext, type Type } from '@nestjs/common';
import { GUARDS_METADATA } from '@nestjs/common/constants.js';
import { ContextIdFactory, ExternalContextCreator, ModulesContainer } from '@nestjs/core';
import { standFor } from './sse-route.js';

type Guard = CanActivate | Type<CanActivate>;

@Injectable()
export class RouteGuards {
  constructor(
    private readonly contexts: ExternalContextCreator,
    private readonly modules: ModulesContainer,
  ) {}

  /**
   * Runs global guards, then those of the controller and of the handler, with the request that opened the stream.
   * @throws rejects with what a guard threw, or with ForbiddenException where one answered false
   */
  async activate(context: ExecutionContext): Promise<void> {
    const controller = context.getClass();
    const handler = context.getHandler();
    const request = context.switchToHttp().getRequest<object>();
    const contextId = ContextIdFactory.getByRequest(request);
    const resolve = (guard: Guard): CanActivate =>
      typeof guard === 'function' ? this.#instanceOf(guard, controller, contextId) : guard;
    // Nest runs global guards and instances by itself; classes it looks for among providers, where a controller's are not.
    const classes = guardsOf(controller).filter((guard) => typeof guard === 'function');
    const guards = [...classes, ...guardsOf(handler)].map(resolve);
    const run = this.contexts.create(
      Object.create(controller.prototype as object) as object,
      standIn(handler, guards),
      handler.name,
      undefined,
      undefined,
      contextId,
      undefined,
      { guards: true, interceptors: false, filters: false },
      context.getType(),
    );
    await run(...context.getArgs());
  }

  #instanceOf(guard: Type<CanActivate>, controller: Type, contextId: ReturnType<typeof ContextIdFactory.create>) {
    for (const module of this.modules.values()) {
      if (!module.controllers.has(controller)) continue;
      const wrapper = module.injectables.get(guard);
      if (wrapper === undefined) continue;
      const host = wrapper.isDependencyTreeStatic() ? wrapper : wrapper.getInstanceByContextId(contextId);
      return host.instance as CanActivate;
    }
    // Not to run it would be to let everyone stay.
    throw new Error(`The guard ${guard.name} of ${controller.name} was not found among the module's injectables.`);
  }
}

function guardsOf(target: object): readonly Guard[] {
  return (Reflect.getMetadata(GUARDS_METADATA, target) as readonly Guard[] | undefined) ?? [];
}

/** What guards see of the handler, and nothing of what it does. */
function standIn(handler: ReturnType<ExecutionContext['getHandler']>, guards: readonly CanActivate[]): () => void {
  const stand = standFor(handler, (): void => undefined);
  Reflect.defineMetadata(GUARDS_METADATA, guards, stand);
  return stand;
}
