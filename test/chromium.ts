/** The browser that tests drive: Chromium as the machine has it. */
import { chromium, type Browser } from 'playwright-core';
import { findProgram } from './programs.js';

/** Where it is; null where it is missing, after that was said, and where `CHROMIUM_PATH` is `none`. */
export const chromiumPath =
  process.env['CHROMIUM_PATH'] === 'none'
    ? null
    : findProgram('Chromium', 'CHROMIUM_PATH', ['chromium', 'chromium-browser', 'google-chrome']);

/** Starts one that asks nobody for anything of its own accord. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: chromiumPath ?? '',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
