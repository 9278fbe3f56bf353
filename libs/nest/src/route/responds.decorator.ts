/** Makes a method's response ours: when Nest calls it, guards, pipes and interceptors have had their say, and filters are still there. */
import { Inject, Next, Req, Res, UseGuards } from '@nestjs/common';
import { CUSTOM_ROUTE_ARGS_METADATA, PROPERTY_DEPS_METADATA, ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { SseResponder } from './sse-responder.js';
import { standFor } from './sse-route.js';
import { ATTACHING } from './stream-request.js';

/** Where a controller has the responder, by injection. */
const RESPONDER = Symbol('responder');

interface Responding {
  readonly [RESPONDER]?: SseResponder;
  readonly constructor: new () => unknown;
}

type Handler = (this: unknown, ...args: unknown[]) => unknown;

/**
 * Wraps the method. It is given the request, the response and `next` behind its own parameters, where neither a default value nor a
 * rest parameter ever meets them; a method that takes `@Res()` is one whose response Nest leaves alone. Called by hand, as in a unit
 * test, it is what was written.
 */
export const Responds = (target: object, key: string | symbol, descriptor: PropertyDescriptor): void => {
  const handler = descriptor.value as Handler;
  const parameters = Object.entries(parametersOf(target, key));
  const count = parameters.reduce((most, [, { index }]) => Math.max(most, index + 1), handler.length);
  for (const [index, Parameter] of [Req, Res, Next].entries()) Parameter()(target, key, count + index);
  if (!isInjected(target)) Inject(SseResponder)(target, RESPONDER);

  const responds = function (this: Responding | undefined, ...args: unknown[]): unknown {
    const responder = this?.[RESPONDER];
    if (this === undefined || responder === undefined || args.length !== count + 3) return handler.apply(this, args);
    const context = new ExecutionContextHost(args.slice(count), this.constructor, responds);
    return responder.respond(context, () => handler.apply(this, args.slice(0, count)));
  };
  descriptor.value = standFor(handler, responds);
  // Most handlers take none that could ask for the connection.
  if (parameters.some(([kind]) => kind.includes(CUSTOM_ROUTE_ARGS_METADATA)))
    UseGuards(ATTACHING)(target, key, descriptor);
};

type Parameters = Readonly<Record<string, { readonly index: number }>>;

/** A method's decorated parameters, by their kind and index. */
function parametersOf(target: object, key: string | symbol): Parameters {
  return (Reflect.getMetadata(ROUTE_ARGS_METADATA, target.constructor, key) ?? {}) as Parameters;
}

function isInjected(target: object): boolean {
  const properties = (Reflect.getMetadata(PROPERTY_DEPS_METADATA, target.constructor) ?? []) as ReadonlyArray<{
    readonly key: unknown;
  }>;
  return properties.some(({ key }) => key === RESPONDER);
}
