import { createCipheriv, hash } from 'node:crypto';

/** Bytes that no compressor shortens, the same for the same seed. */
export function noise(sizeBytes: number, seed: string): Buffer {
  const cipher = createCipheriv('aes-256-ctr', hash('sha256', seed, 'buffer'), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(sizeBytes));
}
