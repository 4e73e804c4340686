import { createHash } from 'node:crypto';

/** Bytes that no compressor shortens, the same for the same seed. */
export function noise(sizeBytes: number, seed: string): Buffer {
  const blocks = Array.from({ length: Math.ceil(sizeBytes / 32) }, (_, index) =>
    createHash('sha256').update(`${seed} ${index}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, sizeBytes);
}
