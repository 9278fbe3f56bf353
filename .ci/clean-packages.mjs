/**
 * Removes the libs' package builds. While they are there, `nest build` would take them, through the workspace's links, in place of
 * the sources.
 */
import { readdirSync, rmSync } from 'node:fs';

for (const lib of readdirSync('libs')) rmSync(`libs/${lib}/dist`, { recursive: true, force: true });
