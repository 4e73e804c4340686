import { isDrakkarError } from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CORPUS } from '../../integration/layers-corpus.ts';
import { mergeLayers } from './support.ts';

const SEEDS = CORPUS.flatMap(({ layers }) => layers.map(({ tar }) => tar)).filter(
  ({ length }) => length <= 16_384,
);
const BLOCK = 512;

type Mutation = (bytes: Buffer) => Buffer;

/** Any place, but rather in the fields of a header than in the zeros behind them. */
const place = fc.record({
  block: fc.nat(40),
  offset: fc.oneof(fc.nat(BLOCK - 1), fc.integer({ min: 100, max: 160 })),
});

const flip = fc.tuple(place, fc.nat(255)).map(
  ([{ block, offset }, value]): Mutation =>
    (bytes) => {
      const at = (block * BLOCK + offset) % Math.max(1, bytes.length);
      if (bytes.length > 0) bytes[at] = value;
      return bytes;
    },
);
const cut = fc.nat(16_384).map(
  (length): Mutation =>
    (bytes) =>
      bytes.subarray(0, length),
);
const repeat = fc.tuple(fc.nat(20), fc.nat(20), fc.integer({ min: 1, max: 5 })).map(
  ([from, to, count]): Mutation =>
    (bytes) => {
      const part = bytes.subarray(from * BLOCK, (from + count) * BLOCK);
      return Buffer.concat([bytes.subarray(0, to * BLOCK), part, bytes.subarray(to * BLOCK)]);
    },
);

/** Without right checksums, most mutations would end at the first line of defence. */
function mendChecksums(bytes: Buffer): Buffer {
  for (let at = 0; at + BLOCK <= bytes.length; at += BLOCK) {
    const block = bytes.subarray(at, at + BLOCK);
    if (block.toString('latin1', 257, 262) !== 'ustar') continue;
    block.fill(0x20, 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return bytes;
}

const limits = { entries: 1000, fileBytes: 1024 * 1024, metadataBytes: 65_536, totalBytes: 1024 * 1024 };

it('a damaged archive is read or refused with an error that names the layer, and nothing else', async () => {
  const damaged = fc
    .tuple(
      fc.constantFrom(...SEEDS),
      fc.array(fc.oneof(flip, flip, cut, repeat), { maxLength: 6 }),
      fc.nat(3),
    )
    .map(([seed, mutations, mend]) => {
      const bytes = mutations.reduce<Buffer>((current, mutate) => mutate(current), Buffer.from(seed));
      return mend > 0 ? mendChecksums(bytes) : bytes;
    });
  await fc.assert(
    fc.asyncProperty(fc.array(damaged, { minLength: 1, maxLength: 3 }), async (layers) => {
      const error = await mergeLayers(layers, { limits }).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error === undefined) return;
      if (!isDrakkarError(error)) throw error;
      expect(['invalid_content', 'limit_exceeded']).toContain(error.code);
      expect(error.message).toMatch(/^layer layer \d, /);
    }),
    { numRuns: 3000 },
  );
});
