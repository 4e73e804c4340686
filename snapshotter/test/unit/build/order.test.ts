import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { noise, type TarItem, temporaryDirectory } from '@drakkar/lab';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { moveChunks } from '../../../src/build/relocate.ts';
import type { Built } from '../../../src/build/request.ts';
import { type FileContent, readErofs } from '../../../src/index.ts';
import { nodeAt } from '../../../src/layers/index.ts';
import { buildHere, dictionaryOf } from './support.ts';

const SIZES = [1, 4096, 5000, 100_000, 1_048_577, 2_500_000];
const lower: TarItem[] = [
  ...SIZES.map((sizeBytes, index) => ({ name: `a/file-${index}`, data: noise(sizeBytes, `a ${index}`) })),
  { name: 'a/again', data: noise(100_000, 'a 3') },
  { name: 'a/linked', type: '1', linkName: 'a/file-2' },
  { name: 'link', type: '2', linkName: 'a' },
];
const upper: TarItem[] = [
  { name: 'a/file-2', data: noise(5000, 'over') },
  { name: 'link/through', data: noise(9000, 'through') },
  ...SIZES.map((sizeBytes, index) => ({ name: `b/file-${index}`, data: noise(sizeBytes, `b ${index}`) })),
];
const NAMES = [...lower, ...upper].map(({ name }) => `/${name}`);

function contentAt({ meta }: Built, path: string): FileContent {
  const node = nodeAt(readErofs(readFileSync(meta.rawPath)).root, path);
  if (node?.kind !== 'file') throw new Error(`${path} is no file`);
  return node.content;
}

/** What a snapshot whose devices were all made by its build has in a file. */
function bytesOf(built: Built, path: string): Buffer {
  const content = contentAt(built, path);
  const bytes = Buffer.alloc(content.sizeBytes);
  for (const run of content.runs) {
    const { rawDigest } = built.config.devices[run.device] ?? built.config.meta;
    const device = readFileSync(
      built.devices.find(({ file }) => file.rawDigest === rawDigest)?.rawPath ?? '',
    );
    const start = run.firstChunk * 2 ** content.chunkBits;
    const length = Math.min(run.chunkCount * 2 ** content.chunkBits, content.sizeBytes - start);
    device.copy(bytes, start, run.startBlock * 4096, run.startBlock * 4096 + length);
  }
  return bytes;
}

const orderOf = (...paths: string[]) => ({ order: paths.map((path) => ({ path })) });

describe('a build with a list of what starts read', () => {
  it('lays the listed files out at the front of one device, in the order of the list', async () => {
    await using directory = await temporaryDirectory('order');
    const listed = ['/b/file-3', '/a/file-2', '/a/file-5', '/a/file-0', '/b/file-0'];
    const built = await buildHere([lower, upper], join(directory.path, 'built'), orderOf(...listed));
    const devices = new Set(
      listed.flatMap((path) => contentAt(built, path).runs.map(({ device }) => device)),
    );
    expect(devices.size).toBe(1);
    let next = 0;
    for (const path of listed) {
      const content = contentAt(built, path);
      expect(content.runs.length).toBe(1);
      expect(content.runs[0]?.startBlock).toBe(next);
      next += Math.ceil(content.sizeBytes / 4096);
    }
    // What the upper layer hides lies behind them.
    const [device = 0] = devices;
    expect(built.config.devices[device]?.rawSizeBytes).toBe((next + 2) * 4096);
  });

  it('has the same content, whatever the list says, and leaves nothing else behind', async () => {
    await using directory = await temporaryDirectory('order');
    const plain = await buildHere([lower, upper], join(directory.path, 'plain'));
    const files = NAMES.filter((name) => !['/a/linked', '/link', '/link/through'].includes(name));
    const expected = files.map((path) => bytesOf(plain, path));
    const path = fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...NAMES) },
      fc.constantFrom('', '/', '..', 'a/file-1', '/a//file-3/', '/a/file-1/deeper', '/not/there'),
      fc.string(),
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(path, { maxLength: 20 }), async (paths) => {
        const outputDir = join(directory.path, `${run++}`);
        const built = await buildHere([lower, upper], outputDir, orderOf(...paths));
        for (const [index, file] of files.entries()) {
          expect(bytesOf(built, file).equals(expected[index] ?? Buffer.alloc(0))).toBe(true);
        }
        expect(built.stats.dedupedBytes).toBe(plain.stats.dedupedBytes);
        expect(readdirSync(outputDir).length).toBe(3 * (built.devices.length + 1) + 1);
      }),
      { numRuns: 25 },
    );
  });

  it('gives the same bytes again, and its chunk list serves the next version', async () => {
    await using directory = await temporaryDirectory('order');
    const order = orderOf('/b/file-5', '/a/file-5', '/a/file-3');
    const first = await buildHere([lower, upper], join(directory.path, '1'), order);
    const again = await buildHere([lower, upper], join(directory.path, '2'), order);
    expect(again.config).toEqual(first.config);
    const next = await buildHere([lower, upper], join(directory.path, '3'), {
      ...orderOf('/a/file-3', '/b/file-5'),
      dictionary: dictionaryOf(first),
    });
    expect(next.devices).toEqual([]);
    expect(new Set(next.config.devices)).toEqual(new Set(first.config.devices));
    for (const path of ['/a/file-5', '/b/file-5', '/a/file-3', '/a/file-4']) {
      const [here, there] = [contentAt(next, path), contentAt(first, path)].map(({ runs }) =>
        runs.map(({ startBlock }) => startBlock),
      );
      expect(here).toEqual(there);
    }
  });
});

describe('a file whose chunks have moved', () => {
  it('has each of them where it lies now', () => {
    const chunk = fc.record({ there: fc.boolean(), device: fc.nat(1), slot: fc.nat(7) });
    fc.assert(
      fc.property(
        fc.array(chunk, { maxLength: 12 }),
        fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 8 }),
        (chunks, shuffled) => {
          const runs = chunks.flatMap(({ there, device, slot }, firstChunk) =>
            there ? [{ firstChunk, chunkCount: 1, device, startBlock: slot * 2 }] : [],
          );
          const content = { sizeBytes: chunks.length * 8192, chunkBits: 13, runs };
          const moved = new Map(shuffled.map((to, from) => [from * 2, to * 2]));
          const placed = new Map(
            moveChunks(content, 1, moved).runs.flatMap(({ firstChunk, chunkCount, device, startBlock }) =>
              Array.from({ length: chunkCount }, (_, at) => [
                firstChunk + at,
                { device, block: startBlock + at * 2 },
              ]),
            ),
          );
          for (const { firstChunk, device, startBlock } of runs) {
            const block = device === 1 ? moved.get(startBlock) : startBlock;
            expect(placed.get(firstChunk)).toEqual({ device, block });
          }
          expect(placed.size).toBe(runs.length);
        },
      ),
    );
  });
});
