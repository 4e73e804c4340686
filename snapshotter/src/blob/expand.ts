import { type FileHandle, open, rm } from 'node:fs/promises';
import {
  type Digest,
  Digester,
  DrakkarError,
  digestOf,
  EROFS_BLOCK_BYTES,
  type Piece,
  type PieceTable,
  type VolumeFile,
} from '@drakkar/protocol';
import { readFully, writeFully } from './file.ts';
import { decodeSeekTable, type Frame, seekTableBytes } from './seek-table.ts';
import { dataSpans } from './zeros.ts';
import { decompressFrame } from './zstd.ts';

export interface ExpandRequest {
  readonly blobPath: string;
  readonly table: PieceTable;
  /** What a trusted snapshot config says of the file. */
  readonly file: VolumeFile;
  /** Made anew; removed again on failure. */
  readonly outputPath: string;
}

/** The largest frame that a snapshot config may announce. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;
/** What zstd makes of the largest frame at worst, generously: `ZSTD_compressBound` adds less than 1/128. */
const MAX_PIECE_BYTES = MAX_FRAME_BYTES + MAX_FRAME_BYTES / 64;
/** Frames that are read and decompressed at the same time. Memory: twice this many frames. */
const PARALLEL_FRAMES = 3;

/**
 * Turns a zstd seekable blob into its raw, sparse form. Verifies every piece before it is decompressed, each frame's
 * size, and the digest of the whole; never holds more than a few frames. The output is synced.
 *
 * @throws `invalid_content` where anything is not what table and config say; `cancelled`; the disk's errors
 */
export async function expandBlob(
  { blobPath, table, file, outputPath }: ExpandRequest,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  signal.throwIfAborted();
  await using blob = await open(blobPath, 'r');
  const frames = await readFrames(blob, table, file);
  await using output = await open(outputPath, 'wx');
  try {
    const digest = await expandFrames(blob, table.pieces, frames, output, signal);
    if (digest !== file.rawDigest) {
      throw new DrakkarError(
        'invalid_content',
        `the blob ${file.blobDigest} expands to ${digest} instead of ${file.rawDigest}`,
      );
    }
    await output.truncate(file.rawSizeBytes);
    await output.sync();
  } catch (error) {
    await rm(outputPath, { force: true });
    throw error;
  }
}

/** The frames as the seek table lists them, once that agrees with the piece table and the config in every number. */
async function readFrames(blob: FileHandle, table: PieceTable, file: VolumeFile): Promise<Frame[]> {
  const refuse = (why: string): never => {
    throw new DrakkarError('invalid_content', `the blob ${file.blobDigest} ${why}`);
  };
  if (table.digest !== file.blobDigest || table.sizeBytes !== file.blobSizeBytes) {
    refuse('has the piece table of another');
  }
  const last = table.pieces.at(-1) ?? refuse('has no pieces');
  if (last.length !== seekTableBytes(table.pieces.length - 1)) refuse('has no seek table of the right size');
  const frames = decodeSeekTable(await readPiece(blob, last));
  const blockBytes = frames[0]?.rawBytes ?? refuse('has no frames');
  if (frames.length !== table.pieces.length - 1) refuse('has another number of frames than of pieces');
  if (blockBytes > MAX_FRAME_BYTES) refuse(`has frames of ${blockBytes} bytes`);
  let rawBytes = 0;
  frames.forEach((frame, index) => {
    const isLast = index === frames.length - 1;
    const fits = isLast ? frame.rawBytes > 0 && frame.rawBytes <= blockBytes : frame.rawBytes === blockBytes;
    if (
      !fits ||
      frame.compressedBytes > MAX_PIECE_BYTES ||
      frame.compressedBytes !== table.pieces[index]?.length
    )
      refuse('has irregular frames');
    rawBytes += frame.rawBytes;
  });
  if (rawBytes !== file.rawSizeBytes) refuse(`expands to ${rawBytes} bytes instead of ${file.rawSizeBytes}`);
  return frames;
}

async function readPiece(blob: FileHandle, piece: Piece): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(piece.length);
  const read = await readFully(blob, bytes, piece.offset);
  if (read !== piece.length || digestOf(bytes) !== piece.sha256) {
    throw new DrakkarError(
      'invalid_content',
      `the piece at ${piece.offset} of the blob does not match its digest`,
    );
  }
  return bytes;
}

async function expandFrames(
  blob: FileHandle,
  pieces: readonly Piece[],
  frames: readonly Frame[],
  output: FileHandle,
  signal: AbortSignal,
): Promise<Digest> {
  const digester = new Digester();
  const load = async (index: number): Promise<Buffer> => {
    const piece = pieces[index];
    const frame = frames[index];
    if (piece === undefined || frame === undefined)
      throw new DrakkarError('internal', `there is no frame ${index}`);
    return decompressFrame(await readPiece(blob, piece), frame.rawBytes);
  };
  const ahead: Promise<Buffer>[] = [];
  let next = 0;
  try {
    for (let index = 0; index < frames.length; index++) {
      signal.throwIfAborted();
      while (next < frames.length && ahead.length < PARALLEL_FRAMES) {
        const loading = load(next++);
        // Its failure is thrown when its turn comes.
        loading.catch(() => undefined);
        ahead.push(loading);
      }
      const current = ahead.shift();
      if (current === undefined) break;
      const raw = await current;
      const position = digester.sizeBytes;
      digester.update(raw);
      for (const { start, end } of dataSpans(raw, EROFS_BLOCK_BYTES)) {
        await writeFully(output, raw.subarray(start, end), position + start);
      }
    }
  } finally {
    await Promise.allSettled(ahead);
  }
  return digester.digest();
}
