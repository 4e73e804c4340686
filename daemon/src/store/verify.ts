import { hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type Digest, Digester, hexOf } from '@drakkar/protocol';
import type { ContentRow, PieceRow } from './index-file.ts';

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
  pieces: readonly PieceRow[],
  signal?: AbortSignal,
): Promise<Findings> {
  await using handle = await open(file, 'r');
  const checker = checkerFor(row, pieces);
  const buffer = Buffer.allocUnsafe(checker.longestBytes);
  for (const range of checker.ranges) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, range.end - range.start, range.start);
    checker.take(range, buffer.subarray(0, bytesRead));
  }
  return checker.findings();
}

/** The same while everything else waits: for the first use of what the verification in the background has not reached. */
export function verifyContentNow(file: string, row: ContentRow, pieces: readonly PieceRow[]): Findings {
  const descriptor = openSync(file, 'r');
  try {
    const checker = checkerFor(row, pieces);
    const buffer = Buffer.allocUnsafe(checker.longestBytes);
    for (const range of checker.ranges) {
      const count = readSync(descriptor, buffer, 0, range.end - range.start, range.start);
      checker.take(range, buffer.subarray(0, count));
    }
    return checker.findings();
  } finally {
    closeSync(descriptor);
  }
}

type Range = Pick<PieceRow, 'piece' | 'start' | 'end'>;

interface Checker {
  readonly ranges: Iterable<Range>;
  readonly longestBytes: number;
  take(range: Range, bytes: Buffer): void;
  findings(): Findings;
}

function checkerFor(row: ContentRow, pieces: readonly PieceRow[]): Checker {
  const hasAll = pieces.reduce((sum, { start, end }) => sum + end - start, 0) === row.sizeBytes;
  return row.complete && !hasAll ? wholeChecker(row) : pieceChecker(pieces);
}

function pieceChecker(pieces: readonly PieceRow[]): Checker {
  const badPieces: number[] = [];
  const hashes = new Map(pieces.map(({ piece, sha256 }) => [piece, sha256]));
  return {
    ranges: pieces,
    longestBytes: pieces.reduce((longest, { start, end }) => Math.max(longest, end - start), 0),
    take({ piece, start, end }, bytes) {
      const isGood =
        bytes.length === end - start && hashes.get(piece)?.equals(hash('sha256', bytes, 'buffer')) === true;
      if (!isGood) badPieces.push(piece);
    },
    findings: () => ({ ...GOOD, badPieces }),
  };
}

function wholeChecker(row: ContentRow): Checker {
  const digester = new Digester();
  return {
    ranges: chunks(row.sizeBytes),
    longestBytes: READ_BYTES,
    take: (_range, bytes) => digester.update(bytes),
    findings: () => ({ ...GOOD, badWhole: !isDigestOf(row.digest, digester) }),
  };
}

function isDigestOf(digest: Digest, digester: Digester): boolean {
  return hexOf(digester.digest()) === hexOf(digest);
}

function* chunks(sizeBytes: number): Generator<Range> {
  for (let start = 0; start < sizeBytes; start += READ_BYTES) {
    yield { piece: 0, start, end: Math.min(start + READ_BYTES, sizeBytes) };
  }
}
