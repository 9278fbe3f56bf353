/** The disk, as a journal uses it: few calls, so that a test can let each of them fail. */
import { constants } from 'node:fs';
import { open, unlink, type FileHandle } from 'node:fs/promises';

/** A file that is written to. */
export interface DiskFile {
  /** Resolves when all bytes were taken over by the operating system. */
  write(bytes: Buffer, position: number): Promise<void>;
  /** Resolves when the disk has what was written. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

export interface Disk {
  /** Makes a file that did not exist, for its owner alone. */
  create(path: string): Promise<DiskFile>;
  /** Opens a file that exists. */
  open(path: string): Promise<DiskFile>;
  /** Removes a file; it may be gone already. */
  remove(path: string): Promise<void>;
  /** Resolves when the disk has the names of the files in a directory. */
  syncDirectory(path: string): Promise<void>;
}

/** This machine's. */
export const SYSTEM_DISK: Disk = {
  create: async (path) => fileOf(await open(path, 'wx', 0o600)),
  open: async (path) => fileOf(await open(path, 'r+')),
  remove: async (path) => {
    try {
      await unlink(path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  },
  syncDirectory: async (path) => {
    // Windows opens no directories, and keeps their names by itself.
    if (process.platform === 'win32') return;
    const directory = await open(path, constants.O_RDONLY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
};

export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}

/** The system's name of an error, `ENOSPC`. */
export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}

function fileOf(handle: FileHandle): DiskFile {
  return {
    write: async (bytes, position) => {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at);
        at += bytesWritten;
      }
    },
    sync: () => handle.datasync(),
    truncate: (length) => handle.truncate(length),
    close: () => handle.close(),
  };
}
