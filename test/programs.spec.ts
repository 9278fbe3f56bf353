import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { findProgram } from './programs.js';

describe('a program that a test needs from outside', () => {
  const environment = { ...process.env };
  let directory: string;
  let said: string[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'programs-'));
    said = [];
    jest.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
    process.env['PATH'] = directory;
    delete process.env['SOME_SERVER_PATH'];
    delete process.env['SSE_CHANNELS_REQUIRE_SERVERS'];
  });

  afterEach(() => {
    jest.restoreAllMocks();
    Object.assign(process.env, environment);
    rmSync(directory, { recursive: true });
  });

  const find = (): string | null => findProgram('Some server', 'SOME_SERVER_PATH', ['some-server', 'other-server']);

  it('is found on the PATH by any of its names, if it can be run', () => {
    writeFileSync(join(directory, 'some-server'), '');
    writeFileSync(join(directory, 'other-server'), '');
    chmodSync(join(directory, 'other-server'), 0o755);
    expect([find(), said]).toEqual([join(directory, 'other-server'), []]);
  });

  it('is the one that the environment names', () => {
    process.env['SOME_SERVER_PATH'] = '/opt/some-server';
    expect([find(), said]).toEqual(['/opt/some-server', []]);
    delete process.env['SOME_SERVER_PATH'];
  });

  it('is said to be left out in one line where it is missing', () => {
    const line =
      'Left out: Some server not found: set SOME_SERVER_PATH, or put some-server or other-server on the PATH.\n';
    expect([find(), said]).toEqual([null, [line]]);
  });

  it('fails the test where CI demands it', () => {
    process.env['SSE_CHANNELS_REQUIRE_SERVERS'] = '1';
    expect(find).toThrow('Some server not found: set SOME_SERVER_PATH');
    delete process.env['SSE_CHANNELS_REQUIRE_SERVERS'];
  });
});
