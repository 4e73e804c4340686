import { hash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { lengthOf } from '@drakkar/protocol';
import type { ContentWriter } from './writer.ts';

/** Completes content in the making from a file that has all of it. */
export async function fillFrom(path: string, writer: ContentWriter): Promise<void> {
  const { cut } = writer;
  await using file = await open(path, 'r');
  const buffer = Buffer.allocUnsafe(cut.longestPieceBytes);
  for (let piece = 0; piece < cut.pieceCount; piece += 1) {
    if (writer.has(piece)) continue;
    const { bytesRead } = await file.read(buffer, 0, lengthOf(cut, piece), cut.start(piece));
    const bytes = buffer.subarray(0, bytesRead);
    await writer.writePiece(piece, [bytes], hash('sha256', bytes, 'buffer'));
  }
  await writer.finish();
}
