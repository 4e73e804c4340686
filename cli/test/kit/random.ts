import { createCipheriv, createHash } from 'node:crypto';

/** Chance that can be repeated: the same seed gives the same numbers and bytes. */
export interface Chance {
  readonly seed: string;
  /** From 0 to below 1. */
  next(): number;
  /** Bytes that no compressor shortens, other ones each time. */
  bytes(sizeBytes: number): Buffer;
}

export function chanceOf(seed: string): Chance {
  const cipher = createCipheriv(
    'aes-128-ctr',
    createHash('sha256').update(seed).digest().subarray(0, 16),
    Buffer.alloc(16),
  );
  const bytes = (sizeBytes: number) => cipher.update(Buffer.alloc(sizeBytes));
  return { seed, bytes, next: () => bytes(4).readUInt32BE() / 2 ** 32 };
}
