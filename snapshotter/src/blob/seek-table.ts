import { DrakkarError } from '@drakkar/protocol';

/**
 * The seek table of a zstd seekable file: a skippable frame at its end that lists all frames, so that any zstd decodes
 * the whole and a seekable reader finds a part.
 * Source: facebook/zstd, contrib/seekable_format/zstd_seekable_compression_format.md (0.1.0).
 */
export interface Frame {
  readonly compressedBytes: number;
  readonly rawBytes: number;
}

const SKIPPABLE_MAGIC = 0x184d2a5e;
const SEEKABLE_MAGIC = 0x8f92eab1;
const HEAD_BYTES = 8;
const ENTRY_BYTES = 8;
const FOOTER_BYTES = 9;

export function seekTableBytes(frameCount: number): number {
  return HEAD_BYTES + frameCount * ENTRY_BYTES + FOOTER_BYTES;
}

/** Without the optional checksums: pieces have their sha256. */
export function encodeSeekTable(frames: readonly Frame[]): Buffer {
  const table = Buffer.alloc(seekTableBytes(frames.length));
  table.writeUInt32LE(SKIPPABLE_MAGIC, 0);
  table.writeUInt32LE(table.length - HEAD_BYTES, 4);
  frames.forEach(({ compressedBytes, rawBytes }, index) => {
    table.writeUInt32LE(compressedBytes, HEAD_BYTES + index * ENTRY_BYTES);
    table.writeUInt32LE(rawBytes, HEAD_BYTES + index * ENTRY_BYTES + 4);
  });
  const footer = table.length - FOOTER_BYTES;
  table.writeUInt32LE(frames.length, footer);
  table.writeUInt32LE(SEEKABLE_MAGIC, footer + 5);
  return table;
}

/** @throws `invalid_content` unless the bytes are exactly one table of the form that we write */
export function decodeSeekTable(input: Uint8Array): Frame[] {
  const table = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  const footer = table.length - FOOTER_BYTES;
  if (
    table.length < HEAD_BYTES + FOOTER_BYTES ||
    table.readUInt32LE(0) !== SKIPPABLE_MAGIC ||
    table.readUInt32LE(4) !== table.length - HEAD_BYTES ||
    table.readUInt32LE(footer + 5) !== SEEKABLE_MAGIC ||
    table.readUInt8(footer + 4) !== 0 ||
    table.readUInt32LE(footer) * ENTRY_BYTES !== footer - HEAD_BYTES
  ) {
    throw new DrakkarError('invalid_content', 'the blob does not end in a zstd seek table');
  }
  const frames: Frame[] = [];
  for (let at = HEAD_BYTES; at < footer; at += ENTRY_BYTES) {
    frames.push({ compressedBytes: table.readUInt32LE(at), rawBytes: table.readUInt32LE(at + 4) });
  }
  return frames;
}
