/** What a bundler makes of `import { createSseClient } from '@sse-channels/client'`, from the sources: what a page loads. */
import { bundleForBrowser } from './browser-bundle.mjs';

export function bundleClient() {
  return bundleForBrowser({ contents: `export { createSseClient } from '@sse-channels/client';` });
}
