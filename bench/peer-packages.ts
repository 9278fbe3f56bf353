/** The peers' packages: installed from their own lock file when they are not there, or not as the lock file says. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../../peers/', import.meta.url));
const INSTALL_TIMEOUT_MS = 180_000;

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

/** @throws Error when they cannot be installed */
export function installPeers(say: (line: string) => void): void {
  if (Object.entries(peerVersions()).every(([name, version]) => installed(name) === version)) return;
  say('Installing the peers, once: npm ci in bench/peers');
  const { status, error, stderr } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
    cwd: FOLDER,
    timeout: INSTALL_TIMEOUT_MS,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`npm ci in bench/peers failed: ${error?.message ?? stderr}`);
}

/** The exact version of each peer. */
export function peerVersions(): Readonly<Record<string, string>> {
  return manifestOf(FOLDER).dependencies;
}

function installed(name: string): string | undefined {
  const folder = `${FOLDER}node_modules/${name}/`;
  return existsSync(`${folder}package.json`) ? manifestOf(folder).version : undefined;
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(`${folder}package.json`, 'utf8')) as Manifest;
}
