/** Blocks: what one commit adds to a segment, with checksums by which a whole one is told from a torn and from a damaged one. */
import { crc32 } from 'node:zlib';

/** `sseJ`, the length of the payload, its checksum, and the checksum of these three. */
const HEADER_BYTES = 16;
const MAGIC = 0x7373_654a;

/** What lies at a place of a segment. */
export type BlockAt =
  | { readonly kind: 'whole'; readonly payload: string; readonly end: number }
  /** The segment ends here. */
  | { readonly kind: 'end' }
  /** The write of a block was not finished; nothing follows. */
  | { readonly kind: 'torn' }
  /** Bytes that a write that was not finished does not explain. */
  | { readonly kind: 'damaged' };

/** Makes a block of entries that are encoded already. */
export function formatBlock(entries: readonly string[]): Buffer {
  const payload = `[${entries.join(',\n')}]`;
  const length = Buffer.byteLength(payload);
  const block = Buffer.allocUnsafe(HEADER_BYTES + length);
  block.write(payload, HEADER_BYTES);
  block.writeUInt32BE(MAGIC, 0);
  block.writeUInt32BE(length, 4);
  block.writeUInt32BE(crc32(block.subarray(HEADER_BYTES)), 8);
  block.writeUInt32BE(crc32(block.subarray(0, 12)), 12);
  return block;
}

/** Looks at what begins at this place. */
export function readBlock(segment: Buffer, at: number): BlockAt {
  const left = segment.length - at;
  if (left === 0) return { kind: 'end' };
  // A file can be longer than what reached the disk: the rest of it reads as zeros.
  if (isZero(segment, at)) return { kind: 'torn' };
  if (left < HEADER_BYTES) return { kind: 'torn' };
  const headerIsWhole =
    segment.readUInt32BE(at) === MAGIC &&
    segment.readUInt32BE(at + 12) === crc32(segment.subarray(at, at + HEADER_BYTES - 4));
  if (!headerIsWhole) return { kind: 'damaged' };
  const start = at + HEADER_BYTES;
  const end = start + segment.readUInt32BE(at + 4);
  if (end > segment.length) return { kind: 'torn' };
  const payload = segment.subarray(start, end);
  if (crc32(payload) === segment.readUInt32BE(at + 8)) return { kind: 'whole', payload: payload.toString(), end };
  // JSON ends with a bracket; a zero in its place was never written.
  return { kind: segment[end - 1] === 0 && isZero(segment, end) ? 'torn' : 'damaged' };
}

function isZero(bytes: Buffer, from: number): boolean {
  for (let at = from; at < bytes.length; at += 1) if (bytes[at] !== 0) return false;
  return true;
}
