/** What `client-bundle.mjs` exports. */
export function bundleClient(): Promise<{
  readonly code: string;
  readonly bytesByFile: ReadonlyArray<readonly [string, number]>;
}>;
