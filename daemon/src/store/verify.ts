import { hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type Digest, Digester, fixedPieceLength, hexOf } from '@drakkar/protocol';
import type { ContentRow } from './index-file.ts';

/** What the bytes of a content turned out to be. */
export interface Findings {
  /** Pieces that are not what was recorded. */
  readonly badPieces: readonly number[];
  /** Content without recorded pieces that as a whole is not what its digest says. */
  readonly badWhole: boolean;
}

const READ_BYTES = 4 * 1024 * 1024;
const GOOD: Findings = { badPieces: [], badWhole: false };

/** Compares every present byte with what the index says; never with less. */
export async function verifyContent(
  file: string,
  row: ContentRow,
  pieces: ReadonlyMap<number, Buffer>,
  signal?: AbortSignal,
): Promise<Findings> {
  await using handle = await open(file, 'r');
  const checker = checkerFor(row, pieces);
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  for (const range of checker.ranges) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, range.length, range.offset);
    checker.take(range, buffer.subarray(0, bytesRead));
  }
  return checker.findings();
}

/** The same while everything else waits: for the first use of what the verification in the background has not reached. */
export function verifyContentNow(
  file: string,
  row: ContentRow,
  pieces: ReadonlyMap<number, Buffer>,
): Findings {
  const descriptor = openSync(file, 'r');
  try {
    const checker = checkerFor(row, pieces);
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (const range of checker.ranges) {
      const count = readSync(descriptor, buffer, 0, range.length, range.offset);
      checker.take(range, buffer.subarray(0, count));
    }
    return checker.findings();
  } finally {
    closeSync(descriptor);
  }
}

interface Range {
  readonly piece: number;
  readonly offset: number;
  readonly length: number;
}

interface Checker {
  readonly ranges: Iterable<Range>;
  take(range: Range, bytes: Buffer): void;
  findings(): Findings;
}

function checkerFor(row: ContentRow, pieces: ReadonlyMap<number, Buffer>): Checker {
  const pieceLength = fixedPieceLength(row.sizeBytes);
  const hasAll = pieces.size === Math.ceil(row.sizeBytes / pieceLength);
  return row.complete && !hasAll ? wholeChecker(row) : pieceChecker(row.sizeBytes, pieceLength, pieces);
}

function pieceChecker(sizeBytes: number, pieceLength: number, pieces: ReadonlyMap<number, Buffer>): Checker {
  const badPieces: number[] = [];
  return {
    ranges: [...pieces.keys()].map((piece) => {
      const offset = piece * pieceLength;
      return { piece, offset, length: Math.max(0, Math.min(pieceLength, sizeBytes - offset)) };
    }),
    take({ piece, length }, bytes) {
      const good =
        bytes.length === length && pieces.get(piece)?.equals(hash('sha256', bytes, 'buffer')) === true;
      if (!good) badPieces.push(piece);
    },
    findings: () => ({ ...GOOD, badPieces }),
  };
}

function wholeChecker(row: ContentRow): Checker {
  const digester = new Digester();
  return {
    ranges: chunks(row.sizeBytes),
    take: (_range, bytes) => digester.update(bytes),
    findings: () => ({ ...GOOD, badWhole: !isDigestOf(row.digest, digester) }),
  };
}

function isDigestOf(digest: Digest, digester: Digester): boolean {
  return hexOf(digester.digest()) === hexOf(digest);
}

function* chunks(sizeBytes: number): Generator<Range> {
  for (let offset = 0; offset < sizeBytes; offset += READ_BYTES) {
    yield { piece: 0, offset, length: Math.min(READ_BYTES, sizeBytes - offset) };
  }
}
