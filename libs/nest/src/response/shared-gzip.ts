/**
 * gzip for many streams that are written the same bytes: each piece is compressed once, not once a stream. Deflate blocks that refer to
 * nothing before them can stand anywhere (RFC 1951), and blocks that refer to pieces before them can stand in every stream that was
 * given those pieces. Each stream has its own envelope: header, CRC and length (RFC 1952).
 */
import { constants, deflateRawSync } from 'node:zlib';
import { appendCrc, crcOf, type PieceCrc } from './crc32.js';

/** A lineage begins anew after so many bytes: until then, who joins gets pieces that stand alone. */
const LINEAGE_BYTES = 16_384;
/** A stream that was outside of any lineage for so many bytes begins one. */
const OUTSIDE_BYTES = 4_096;
/** A piece is compressed at most so often for lineages that differ: the largest is most likely among the first. */
const MAX_PLACES = 3;
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
/** The last block of a stream, an empty one. */
const LAST_BLOCK = Buffer.from([3, 0]);

/** A piece of bytes that was written to streams. */
interface Piece {
  readonly bytes: Buffer;
  readonly crc: PieceCrc;
  /** Compressed, referring to nothing. */
  alone: Buffer | undefined;
  /** Set where a lineage begins: then everyone is given it alone, and has the same past from here on. */
  beginning: Place | undefined;
  /** Where it follows other pieces. */
  readonly places: Place[];
}

/** A piece's place in a lineage: streams that stand there were given all pieces since it began. */
interface Place {
  readonly parent: Place | null;
  /** The piece compressed, referring to those before it. */
  readonly encoded: Buffer;
  /** The bytes of the lineage, of which the first `pastBytes` are those up to here; shared with other places. */
  readonly past: Past;
  readonly pastBytes: number;
}

interface Past {
  readonly bytes: Buffer;
  used: number;
}

/** What the streams of an application share: pieces, by the Buffer they came as. They are kept as long as their Buffers are. */
export class SharedGzip {
  readonly #pieces = new WeakMap<Buffer, Piece>();
  #last: Piece | undefined;

  stream(): GzipStream {
    return new GzipStream(this);
  }

  pieceOf(bytes: Buffer): Piece {
    // In a fan-out nearly all streams are written the same.
    if (this.#last?.bytes === bytes) return this.#last;
    let piece = this.#pieces.get(bytes);
    if (piece === undefined) {
      piece = { bytes, crc: crcOf(bytes), alone: undefined, beginning: undefined, places: [] };
      this.#pieces.set(bytes, piece);
    }
    this.#last = piece;
    return piece;
  }
}

/** One stream's envelope: a few numbers, and where it stands in a lineage. */
export class GzipStream {
  readonly #shared: SharedGzip;
  /** Where in a lineage it stands; null outside of any. */
  #at: Place | null = null;
  #outsideBytes = 0;
  #crc = 0;
  #length = 0;

  constructor(shared: SharedGzip) {
    this.#shared = shared;
  }

  /** What to send for these bytes, which the peer can decode at once. The same Buffer for all streams with the same past, but for their first. */
  encode(bytes: Buffer): Buffer {
    if (this.#length === 0) {
      // The first bytes are of one stream alone.
      this.#count(bytes.length, crcOf(bytes));
      return Buffer.concat([HEADER, deflate(bytes)]);
    }
    const piece = this.#shared.pieceOf(bytes);
    this.#count(bytes.length, piece.crc);
    return this.#follow(piece) ?? this.#standAlone(piece);
  }

  /** The end of the envelope. */
  end(): Buffer {
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#length >>> 0, 4);
    return Buffer.concat(this.#length === 0 ? [HEADER, LAST_BLOCK, trailer] : [LAST_BLOCK, trailer]);
  }

  /** The piece as the next of the stream's lineage; null where it cannot be. */
  #follow(piece: Piece): Buffer | null {
    const at = this.#at;
    if (at === null || piece.beginning !== undefined) return null;
    let place = piece.places.find(({ parent }) => parent === at);
    if (place === undefined) {
      if (piece.places.length === MAX_PLACES) return null;
      if (at.pastBytes + piece.bytes.length > LINEAGE_BYTES) {
        begin(piece);
        return null;
      }
      place = follow(piece, at);
    }
    this.#at = place;
    return place.encoded;
  }

  #standAlone(piece: Piece): Buffer {
    this.#outsideBytes += piece.bytes.length;
    const isNew = piece.alone === undefined && piece.places.length === 0;
    if (isNew && this.#outsideBytes >= OUTSIDE_BYTES) begin(piece);
    piece.alone ??= deflate(piece.bytes);
    this.#at = piece.beginning ?? null;
    if (this.#at !== null) this.#outsideBytes = 0;
    return piece.alone;
  }

  #count(bytes: number, crc: PieceCrc): void {
    this.#crc = appendCrc(this.#crc, crc);
    // Modulo 2^32, as ISIZE is; never 0 again, which stands for the beginning.
    this.#length = (this.#length + bytes) % 2 ** 32 || 2 ** 32;
  }
}

/** Lets a lineage begin at a piece that nobody was given as part of another. */
function begin(piece: Piece): void {
  piece.alone ??= deflate(piece.bytes);
  const past = { bytes: copyOf(piece.bytes), used: piece.bytes.length };
  piece.beginning ??= { parent: null, encoded: piece.alone, past, pastBytes: past.used };
}

/** Makes a piece the next of a lineage. */
function follow(piece: Piece, parent: Place): Place {
  const { past: before, pastBytes: from } = parent;
  const encoded = deflate(piece.bytes, before.bytes.subarray(0, from));
  // Where another piece follows already, the two go on apart.
  const past = before.used === from ? before : { bytes: copyOf(before.bytes), used: from };
  piece.bytes.copy(past.bytes, from);
  past.used = from + piece.bytes.length;
  const place = { parent, encoded, past, pastBytes: past.used };
  piece.places.push(place);
  return place;
}

/** Room for a lineage, and its beginning. */
function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafe(LINEAGE_BYTES);
  bytes.copy(copy);
  return copy;
}

/** Blocks that end at a byte, so that others can follow, and with nothing held back. */
function deflate(bytes: Buffer, dictionary?: Buffer): Buffer {
  return deflateRawSync(bytes, {
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(dictionary === undefined ? {} : { dictionary }),
  });
}
