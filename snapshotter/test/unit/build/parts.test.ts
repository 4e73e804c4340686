import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { isDrakkarError } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryChunkIndex } from '../../../src/build/chunk-index.ts';
import { ChunkSink } from '../../../src/build/chunk-sink.ts';
import { decompressLayer } from '../../../src/build/decompress.ts';
import { planDevices } from '../../../src/build/devices.ts';
import { LayerInput } from '../../../src/build/layer-input.ts';
import { SpaceLedger } from '../../../src/build/space.ts';

async function* inParts(bytes: Uint8Array, partBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += partBytes) yield bytes.subarray(at, at + partBytes);
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

describe('the device plan', () => {
  it('gives every layer its own device while there are few', () => {
    expect(planDevices([5, 0, 7])).toEqual([
      { first: 0, end: 1 },
      { first: 1, end: 2 },
      { first: 2, end: 3 },
    ]);
    expect(planDevices([])).toEqual([]);
  });

  it('joins the smallest neighbours of many, and loses no layer', () => {
    expect(planDevices([9, 1, 1, 9], 3)).toEqual([
      { first: 0, end: 1 },
      { first: 1, end: 3 },
      { first: 3, end: 4 },
    ]);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 200 }), fc.integer({ min: 1, max: 64 }), (sizes, max) => {
        const groups = planDevices(sizes, max);
        expect(groups.length).toBe(Math.min(sizes.length, max));
        let next = 0;
        for (const { first, end } of groups) {
          expect(first).toBe(next);
          expect(end).toBeGreaterThan(first);
          next = end;
        }
        expect(next).toBe(sizes.length);
      }),
    );
  });
});

describe('the chunk index', () => {
  it('finds what was added, and nothing else', () => {
    const index = new MemoryChunkIndex();
    const keyOf = (n: number) => createHash('sha256').update(`${n}`).digest();
    const placeOf = (n: number) => ({ device: n % 64, startBlock: 100_000 - n * 3, blocks: 1 + (n % 256) });
    for (let n = 0; n < 20_000; n++) index.add(keyOf(n), placeOf(n));
    for (let n = 0; n < 20_000; n++) expect(index.find(keyOf(n))).toEqual(placeOf(n));
    for (let n = 20_000; n < 25_000; n++) expect(index.find(keyOf(n))).toBeUndefined();
    expect(index.size).toBe(20_000);
    let last = { device: 0, startBlock: -1 };
    let seen = 0;
    for (const { sha256, ...place } of index.inOrder()) {
      expect(index.find(sha256)).toEqual(place);
      expect(place.device * 1e6 + place.startBlock).toBeGreaterThan(last.device * 1e6 + last.startBlock);
      last = place;
      seen += 1;
    }
    expect(seen).toBe(20_000);
  });
});

describe('the chunk sink', () => {
  it('stores files so that they read back, in whatever parts they come', () => {
    const part = fc.record({
      gap: fc.oneof(fc.constant(0), fc.nat({ max: 3_000_000 })),
      length: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 1_500_000 })),
      byte: fc.nat({ max: 3 }),
    });
    fc.assert(
      fc.property(
        fc.array(fc.array(part, { maxLength: 5 }), { maxLength: 4 }),
        fc.nat({ max: 5000 }),
        (files, end) => {
          const stored: Buffer[] = [];
          let blocks = 0;
          const sink = new ChunkSink(new MemoryChunkIndex(), {
            append(bytes) {
              const startBlock = blocks;
              const padded = Buffer.alloc(Math.ceil(bytes.length / 4096) * 4096);
              padded.set(bytes);
              stored.push(padded);
              blocks += padded.length / 4096;
              return { device: 0, startBlock, blocks: padded.length / 4096 };
            },
            find: () => undefined,
            ready: () => undefined,
          });
          const written = files.map((parts) => {
            const sizeBytes = parts.reduce((sum, { gap, length }) => sum + gap + length, end);
            const expected = Buffer.alloc(sizeBytes);
            const writer = sink.begin(sizeBytes);
            let offset = 0;
            for (const { gap, length, byte } of parts) {
              offset += gap;
              expected.fill(byte, offset, offset + length);
              writer.write(offset, expected.subarray(offset, offset + length));
              offset += length;
            }
            return { expected, content: writer.end() };
          });
          const device = Buffer.concat(stored);
          for (const { expected, content } of written) {
            const actual = Buffer.alloc(content.sizeBytes);
            for (const { firstChunk, chunkCount, startBlock } of content.runs) {
              const start = firstChunk * 2 ** content.chunkBits;
              const length = Math.min(chunkCount * 2 ** content.chunkBits, content.sizeBytes - start);
              device.copy(actual, start, startBlock * 4096, startBlock * 4096 + length);
            }
            expect(actual.equals(expected)).toBe(true);
          }
          const { fileBytes, holeBytes, dedupedBytes } = sink.counts;
          expect(device.length).toBeGreaterThanOrEqual(fileBytes - holeBytes - dedupedBytes);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('refuses data beyond the end of a file', () => {
    const store = {
      find: () => undefined,
      append: () => ({ device: 0, startBlock: 0, blocks: 1 }),
      ready: () => undefined,
    };
    const writer = new ChunkSink(new MemoryChunkIndex(), store).begin(10);
    expect(() => writer.write(5, Buffer.alloc(6))).toThrow(/beyond its end/);
  });
});

describe('a layer’s compression', () => {
  const data = fc.uint8Array({ maxLength: 3000 });
  const split = fc.integer({ min: 1, max: 200 });

  it.each([
    ['gzip', (bytes: Uint8Array) => gzipSync(bytes)],
    ['zstd', (bytes: Uint8Array) => zstdCompressSync(bytes)],
  ])('undoes %s of several members, however they are cut', async (_name, compress) => {
    await fc.assert(
      fc.asyncProperty(fc.array(data, { minLength: 1, maxLength: 4 }), split, async (members, partBytes) => {
        const blob = Buffer.concat(members.map(compress));
        const whole = await collect(decompressLayer(inParts(blob, partBytes)));
        expect(whole.equals(Buffer.concat(members))).toBe(true);
      }),
    );
  });

  it.each([
    ['gzip', (bytes: Uint8Array) => gzipSync(bytes)],
    ['zstd', (bytes: Uint8Array) => zstdCompressSync(bytes)],
  ])('refuses %s that is cut short or followed by something else', async (_name, compress) => {
    const blob = Buffer.concat([compress(Buffer.alloc(5000, 'abcdefg')), compress(Buffer.alloc(100, 'x'))]);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 5, max: blob.length - 1 }), split, async (length, partBytes) => {
        const first = compress(Buffer.alloc(5000, 'abcdefg')).length;
        fc.pre(length !== first);
        const reading = collect(decompressLayer(inParts(blob.subarray(0, length), partBytes)));
        await expect(reading).rejects.toSatisfy((error) => isDrakkarError(error, 'invalid_content'));
      }),
    );
    const garbage = Buffer.concat([blob, Buffer.from('garbage')]);
    await expect(collect(decompressLayer(inParts(garbage, 1000)))).rejects.toThrow();
  });

  it('skips skippable frames of zstd', async () => {
    const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const blob = Buffer.concat([
      skippable,
      zstdCompressSync('one'),
      skippable,
      zstdCompressSync('two'),
      skippable,
    ]);
    for (let partBytes = 1; partBytes <= blob.length; partBytes++) {
      expect((await collect(decompressLayer(inParts(blob, partBytes)))).toString()).toBe('onetwo');
    }
  });

  it('passes on what is not compressed, and an empty layer', async () => {
    expect((await collect(decompressLayer(inParts(Buffer.from('plain'), 1)))).toString()).toBe('plain');
    expect((await collect(decompressLayer(inParts(Buffer.alloc(0), 1)))).length).toBe(0);
  });

  it('passes on the error of its source', async () => {
    const failing = async function* () {
      yield gzipSync(Buffer.alloc(100_000)).subarray(0, 50);
      throw new Error('the source failed');
    };
    await expect(collect(decompressLayer(failing()))).rejects.toThrow('the source failed');
  });
});

describe('the builder’s input', () => {
  it('falls into layers, even if one is not read to its end', async () => {
    const input = new LayerInput(inParts(Buffer.from('aaabbbbcc'), 2));
    expect((await collect(input.layer(3))).toString()).toBe('aaa');
    for await (const _part of input.layer(4)) break;
    expect((await collect(input.layer(2))).toString()).toBe('cc');
    await expect(collect(input.layer(1))).rejects.toThrow(/early/);
  });
});

describe('the space ledger', () => {
  it('reserves before it gives, in large steps', async () => {
    const asked: number[] = [];
    const ledger = new SpaceLedger(async (bytes) => {
      asked.push(bytes);
    });
    await Promise.all([ledger.take(1000), ledger.take(2000)]);
    expect(asked).toEqual([64 * 1024 * 1024]);
    await ledger.take(200 * 1024 * 1024);
    expect(ledger.reservedBytes).toBe(asked.reduce((a, b) => a + b));
    expect(ledger.reservedBytes).toBeGreaterThanOrEqual(200 * 1024 * 1024 + 3000);
  });
});
