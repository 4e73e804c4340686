import { noise } from '@drakkar/lab';

const WORD_BYTES = 4;
const CHUNK_BYTES = 4096;

/** Numbers in [0, 1) that are the same for the same seed. */
export function chance(seed: string): () => number {
  let chunk: Buffer = Buffer.alloc(0);
  let [at, chunks] = [0, 0];
  return () => {
    if (at === chunk.length) {
      chunk = noise(CHUNK_BYTES, `${seed} ${chunks}`);
      at = 0;
      chunks += 1;
    }
    const number = chunk.readUInt32LE(at) / 2 ** 32;
    at += WORD_BYTES;
    return number;
  };
}

/** How often each of `count` things is wanted, the first most: shares that are one together and fall with the rank, as Zipf’s law has them. */
export function zipf(count: number, exponent = 1): number[] {
  const weights = Array.from({ length: count }, (_, rank) => (rank + 1) ** -exponent);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** @returns an index, each as often as its share says @param shares one together @param number in [0, 1) */
export function pick(shares: readonly number[], number: number): number {
  let below = 0;
  for (const [index, share] of shares.entries()) {
    below += share;
    if (number < below) return index;
  }
  return shares.length - 1;
}
