/** The readers there are on this machine. */
import { findProgram } from '../../programs.js';
import type { Reader } from '../reading.js';
import { ChromiumReader } from './chromium.js';
import { curlReader } from './curl.js';
import { eventSource } from './event-source.js';
import { fetchWithEventsourceParser, fetchWithFrameParser } from './fetch.js';
import { rawTcp } from './raw-tcp.js';

/** All of them; a program that is missing is said to be left out. */
export function findReaders(): readonly Reader[] {
  const curl = findProgram('curl', 'CURL_PATH', ['curl']);
  const chromium = findProgram('Chromium', 'CHROMIUM_PATH', ['chromium', 'chromium-browser', 'google-chrome']);
  return [
    rawTcp,
    fetchWithFrameParser,
    fetchWithEventsourceParser,
    eventSource,
    ...(curl === null ? [] : [curlReader(curl)]),
    ...(chromium === null ? [] : [new ChromiumReader(chromium)]),
  ];
}
