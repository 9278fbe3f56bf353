/** Where the page's files are: beside the sources, wherever the compiled program runs from. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
// The workspace's own package.json is found from the sources and from the compiled program alike.
const root = dirname(dirname(dirname(require.resolve('uplot/package.json'))));

export const PAGE_DIRECTORY = join(root, 'apps/sample/public');
/** What `npm run build` makes of apps/sample/page. */
export const SCRIPT_DIRECTORY = join(root, 'apps/sample/page/dist');
