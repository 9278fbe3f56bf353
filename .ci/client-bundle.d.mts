/** What `client-bundle.mjs` exports. */
export function bundleClient(names?: readonly string[]): Promise<{
  readonly code: string;
  readonly bytesByFile: ReadonlyArray<readonly [string, number]>;
}>;
