/** What `browser-bundle.mjs` exports. */
export function bundleForBrowser(
  entry: string | { readonly contents: string },
  mode?: 'production' | 'development',
): Promise<{
  readonly code: string;
  readonly bytesByFile: ReadonlyArray<readonly [string, number]>;
}>;
export function bundleSamplePages(): Promise<void>;
