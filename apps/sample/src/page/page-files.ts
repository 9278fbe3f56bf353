/** Where the page's files are: beside the sources, wherever the compiled program runs from. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
// The workspace's own package.json is found from the sources and from the compiled program alike.
const root = dirname(dirname(dirname(require.resolve('uplot/package.json'))));

export const PAGE_DIRECTORY = join(root, 'apps/sample/public');
export const PAGE_FILE = join(PAGE_DIRECTORY, 'index.html');
export const CHART_DIRECTORY = join(root, 'node_modules/uplot/dist');
