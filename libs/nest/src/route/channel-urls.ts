/** Where the streams of channels are: the URL of a topic's own route, as Nest made it. */
import { Injectable, RequestMethod, type OnApplicationBootstrap } from '@nestjs/common';
import { MODULE_PATH, PATH_METADATA, VERSION_METADATA } from '@nestjs/common/constants.js';
import { ApplicationConfig, DiscoveryService, MetadataScanner, ModulesContainer, Reflector } from '@nestjs/core';
import { RoutePathFactory } from '@nestjs/core/router/route-path-factory.js';
import { SseChannelsError, type Channel, type Topic } from '@sse-channels/protocol';
import { SSE_ROUTE, type SseRoute } from './sse-route.js';

/** A segment of a path: text as it stands, or a parameter of the topic. */
type PathSegment = { readonly text: string } | { readonly parameter: string };

@Injectable()
export class ChannelUrls implements OnApplicationBootstrap {
  readonly #paths = new Map<Channel<any, any>, readonly PathSegment[]>();

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    private readonly config: ApplicationConfig,
    private readonly modules: ModulesContainer,
  ) {}

  /**
   * Looks at all routes, once those are made.
   * @throws SseChannelsError `INVALID_CHANNEL` for a channel of a hub without a route that its topics lead to
   */
  onApplicationBootstrap(): void {
    const served = new Map<Channel<any, any>, string[]>();
    const hubs: Array<readonly [handler: string, channels: ReadonlyArray<Channel<any, any>>]> = [];
    for (const { metatype, host } of this.discovery.getControllers()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, unknown>;
      for (const name of this.scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name];
        if (typeof handler !== 'function') continue;
        const route = this.reflector.get<SseRoute | undefined, symbol>(SSE_ROUTE, handler as () => unknown);
        if (route?.kind === 'channel') {
          const paths = served.get(route.channel) ?? [];
          served.set(route.channel, [...paths, ...this.#pathsOf(metatype, handler, host?.metatype)]);
        } else if (route?.kind === 'hub') hubs.push([`${metatype.name}.${name}`, route.options.channels]);
      }
    }
    for (const [handler, channels] of hubs) {
      for (const channel of channels) this.#paths.set(channel, leadingTo(channel, served.get(channel) ?? [], handler));
    }
  }

  /** The URL of a topic's own stream. */
  urlOf(topic: Topic<any, any>): string {
    const params = topic.params as Readonly<Record<string, string>>;
    const segments = this.#paths.get(topic.channel) ?? [];
    return segments
      .map((segment) => ('text' in segment ? segment.text : encodeURIComponent(params[segment.parameter] ?? '')))
      .join('/');
  }

  #pathsOf(controller: object, handler: object, module: object | undefined): string[] {
    const versioningOptions = this.config.getVersioning();
    const metadata = {
      ctrlPath: Reflect.getMetadata(PATH_METADATA, controller) as string,
      methodPath: Reflect.getMetadata(PATH_METADATA, handler) as string,
      modulePath: this.#modulePath(module),
      globalPrefix: this.config.getGlobalPrefix(),
      controllerVersion:
        (Reflect.getMetadata(VERSION_METADATA, controller) as string | undefined) ?? versioningOptions?.defaultVersion,
      methodVersion: Reflect.getMetadata(VERSION_METADATA, handler) as string | undefined,
      ...(versioningOptions === undefined ? {} : { versioningOptions }),
    };
    return [metadata.ctrlPath]
      .flat()
      .flatMap((ctrlPath) =>
        new RoutePathFactory(this.config).create({ ...metadata, ctrlPath } as never, RequestMethod.GET),
      );
  }

  #modulePath(module: object | undefined): string | undefined {
    if (module === undefined) return undefined;
    const { applicationId } = this.modules;
    return (Reflect.getMetadata(MODULE_PATH + applicationId, module) ?? Reflect.getMetadata(MODULE_PATH, module)) as
      string | undefined;
  }
}

/** The first path whose parameters are all the channel's. */
function leadingTo(channel: Channel<any, any>, paths: readonly string[], hub: string): readonly PathSegment[] {
  const pattern: string = channel.pattern;
  const parameters = new Set(pattern.split('/').flatMap((part) => (part.startsWith(':') ? [part.slice(1)] : [])));
  for (const path of paths) {
    const segments = path.split('/').map((part): PathSegment | null => {
      if (/^:\w+$/.test(part)) return parameters.has(part.slice(1)) ? { parameter: part.slice(1) } : null;
      return /[:*{}()[\]?+!\\]/.test(part) ? null : { text: part };
    });
    if (segments.every((segment) => segment !== null)) return segments;
  }
  throw new SseChannelsError(
    'INVALID_CHANNEL',
    paths.length === 0
      ? `${hub} carries the channel "${channel.pattern}", which no route of @SseChannel serves; add one, it says who may have a topic.`
      : `${hub} carries the channel "${channel.pattern}", whose route ${paths.map((path) => `"${path}"`).join(', ')} takes other parameters than its topics have; name them alike.`,
  );
}
