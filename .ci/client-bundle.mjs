/** What a bundler and a minifier make of imports from '@sse-channels/client', from the sources: what a page loads. */
import { minify } from '@swc/core';
import { bundleForBrowser } from './browser-bundle.mjs';

/**
 * @param names what is imported
 * @returns the bundle, an ES module that exports them, and for each file how many bytes it adds before they are minified
 */
export async function bundleClient(names = ['createSseClient']) {
  const contents = `export { ${names.join(', ')} } from '@sse-channels/client';`;
  const { code: whole, bytesByFile } = await bundleForBrowser({ contents }, 'development');
  const { code } = await minify(whole, {
    module: true,
    ecma: 2022,
    compress: { ecma: 2022, passes: 3, toplevel: true, unsafe_arrows: true, unsafe_methods: true },
    mangle: { toplevel: true },
  });
  return { code, bytesByFile };
}
