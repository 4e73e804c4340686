import { mutate } from '@drakkar/lab';
import { decodeChunkList, digestOf, encodeChunkList, type ListedChunk, rawOf } from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';

interface Listed {
  readonly deviceBlocks: readonly number[];
  readonly chunks: readonly ListedChunk[];
}

const listed = fc
  .array(
    fc.tuple(
      fc.array(fc.tuple(fc.nat(5000), fc.integer({ min: 1, max: 256 }), fc.string()), { maxLength: 12 }),
      fc.nat(100),
    ),
    { maxLength: 8 },
  )
  .map((devices): Listed => {
    const deviceBlocks: number[] = [];
    const chunks: ListedChunk[] = [];
    for (const [device, [gaps, rest]] of devices.entries()) {
      let end = 0;
      for (const [gap, blocks, text] of gaps) {
        chunks.push({ sha256: rawOf(digestOf(text)), device, startBlock: end + gap, blocks });
        end += gap + blocks;
      }
      deviceBlocks.push(end + rest);
    }
    return { deviceBlocks, chunks };
  });

const encode = ({ deviceBlocks, chunks }: Listed) =>
  encodeChunkList(deviceBlocks.length, chunks.length, chunks);

test('a list survives its wire form, and says what is used of each device', () => {
  fc.assert(
    fc.property(listed, (list) => {
      const decoded = decodeChunkList(encode(list), list.deviceBlocks);
      const chunks = [...decoded.chunks()].map(({ sha256, ...place }) => ({
        ...place,
        sha256: Uint8Array.from(sha256),
      }));
      expect(chunks).toEqual(
        list.chunks.map((chunk) => ({ ...chunk, sha256: Uint8Array.from(chunk.sha256) })),
      );
      const used = list.deviceBlocks.map((_, device) =>
        list.chunks.reduce((sum, chunk) => sum + (chunk.device === device ? chunk.blocks : 0), 0),
      );
      expect(decoded.usedBlocks).toEqual(used);
    }),
  );
});

const edits = fc.array(
  fc.record({
    kind: fc.constantFrom('set' as const, 'insert' as const, 'remove' as const, 'cut' as const),
    at: fc.nat(),
    value: fc.nat(255),
  }),
  { minLength: 1, maxLength: 3 },
);

test('a damaged list is refused, or names chunks that lie on the devices', () => {
  fc.assert(
    fc.property(listed, edits, ({ deviceBlocks, chunks }, changes) => {
      const bytes = mutate(encode({ deviceBlocks, chunks }), changes);
      try {
        let last: ListedChunk | undefined;
        for (const chunk of decodeChunkList(bytes, deviceBlocks).chunks()) {
          expect(chunk.sha256.length).toBe(32);
          expect(chunk.blocks).toBeGreaterThan(0);
          expect(chunk.startBlock + chunk.blocks).toBeLessThanOrEqual(deviceBlocks[chunk.device] ?? -1);
          if (last?.device === chunk.device) {
            expect(chunk.startBlock).toBeGreaterThanOrEqual(last.startBlock + last.blocks);
          }
          last = chunk;
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid_content' });
      }
    }),
  );
});

test('a list of other devices is refused, and one that claims more than it has takes no memory', () => {
  const list = {
    deviceBlocks: [4],
    chunks: [{ sha256: new Uint8Array(32), device: 0, startBlock: 1, blocks: 3 }],
  };
  const bytes = Buffer.from(encode(list));
  expect(() => decodeChunkList(bytes, [])).toThrow(/devices/);
  expect(() => decodeChunkList(bytes, [3])).toThrow(/beyond the end/);
  bytes.writeUInt32LE(0xffffffff, 12);
  expect(() => decodeChunkList(bytes, [4])).toThrow(/limit/);
});
