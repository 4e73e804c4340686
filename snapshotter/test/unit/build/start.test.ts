import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { noise, type TarItem, temporaryDirectory } from '@drakkar/lab';
import type { DeviceRange } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rearrange } from '../../../src/build/rearrange.ts';
import type { Built } from '../../../src/build/request.ts';
import { planStart } from '../../../src/build/start-plan.ts';
import { type FileContent, type FileRange, readErofs } from '../../../src/index.ts';
import { type Directory, nodeAt } from '../../../src/layers/index.ts';
import { filesIn } from '../../../src/trace/files-in.ts';
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

const FILES = NAMES.filter((name) => !['/a/linked', '/link', '/link/through'].includes(name));
const KIBIBYTE = 1024;
const PART = 64 * KIBIBYTE;

type Snapshot = Pick<Built, 'config' | 'meta' | 'devices'>;

const rootOf = ({ meta }: Snapshot): Directory => readErofs(readFileSync(meta.rawPath)).root;

function contentAt(snapshot: Snapshot, path: string): FileContent {
  const node = nodeAt(rootOf(snapshot), path);
  if (node?.kind !== 'file') throw new Error(`${path} is no file`);
  return node.content;
}

/** What a snapshot whose devices all were made here has in a file. */
function bytesOf(built: Snapshot, path: string): Buffer {
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

/** Where a part of a file lies: on which device, and how far from its beginning. */
function placeOf(snapshot: Snapshot, path: string, offset: number): { device: number; offset: number } {
  const { chunkBits, runs } = contentAt(snapshot, path);
  const chunk = Math.floor(offset / 2 ** chunkBits);
  const run = runs.find(
    ({ firstChunk, chunkCount }) => firstChunk <= chunk && chunk < firstChunk + chunkCount,
  );
  if (run === undefined) throw new Error(`a hole at ${offset} of ${path}`);
  return { device: run.device, offset: run.startBlock * 4096 + offset - run.firstChunk * 2 ** chunkBits };
}

const read = (path: string, offset = 0, length = 3_000_000): FileRange => ({ path, offset, length });

describe('a build that knows what starts read', () => {
  it('lays it once more on one device, part by part, in the order in which they read it', async () => {
    await using directory = await temporaryDirectory('start');
    const reads = [
      read('b/file-5', 1_100_000, 5000),
      read('a/file-2'),
      read('not/there'),
      read('a/file-5', 2 * PART, PART),
      read('b/file-5', 1_110_000, 4096),
      read('a/file-0'),
    ];
    const plain = await buildHere([lower, upper], join(directory.path, 'plain'));
    const built = await buildHere([lower, upper], join(directory.path, 'built'), { reads });
    expect(built.config.devices.slice(0, -1)).toEqual(plain.config.devices);
    const slot = plain.config.devices.length;
    expect(placeOf(built, '/b/file-5', 16 * PART)).toEqual({ device: slot, offset: 0 });
    expect(placeOf(built, '/a/file-2', 0)).toEqual({ device: slot, offset: PART });
    expect(placeOf(built, '/a/file-5', 2 * PART)).toEqual({ device: slot, offset: PART + 8192 });
    expect(placeOf(built, '/a/file-0', 0)).toEqual({ device: slot, offset: 2 * PART + 8192 });
    const length = 2 * PART + 8192 + 4096;
    expect(built.config.devices.at(-1)?.rawSizeBytes).toBe(length);
    expect(built.config.prefetch).toEqual([{ device: slot, offset: 0, length }]);
    for (const [path, offset] of [
      ['/b/file-5', 0],
      ['/b/file-5', 17 * PART],
      ['/a/file-5', PART],
    ] as const)
      expect(placeOf(built, path, offset)).toEqual(placeOf(plain, path, offset));
  });

  it('has the same content, whatever it is told, and so has one that is laid out anew', async () => {
    await using directory = await temporaryDirectory('start');
    const plain = await buildHere([lower, upper], join(directory.path, 'plain'));
    const expected = FILES.map((path) => bytesOf(plain, path));
    const expectSame = (snapshot: Snapshot) => {
      for (const [index, file] of FILES.entries())
        expect(bytesOf(snapshot, file).equals(expected[index] ?? Buffer.alloc(0))).toBe(true);
    };
    const path = fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...NAMES.map((name) => name.slice(1))) },
      fc.constantFrom('', '/', '..', '/a/file-1', 'a//file-3/', 'a/file-1/deeper', 'not/there'),
      fc.string(),
    );
    const blocks = fc.nat(800).map((count) => count * 4096);
    const range = fc.record({ path, offset: blocks, length: fc.integer({ min: 1, max: 3_000_000 }) });
    const device = fc.record({
      device: fc.nat(3),
      offset: blocks,
      length: fc.constantFrom(4096, PART, 2_000_000 * 4096),
    });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(range, { maxLength: 20 }),
        fc.array(device, { maxLength: 20 }),
        fc.subarray([0, 1]),
        async (reads, ranges, moving) => {
          const outputDir = join(directory.path, `${run++}`);
          const built = await buildHere([lower, upper], outputDir, { reads });
          expectSame(built);
          expect(built.stats.dedupedBytes).toBe(plain.stats.dedupedBytes);
          expect(readdirSync(outputDir).length).toBe(3 * (built.devices.length + 1) + 1);

          const anewDir = `${outputDir}-anew`;
          mkdirSync(anewDir);
          const rawPaths = plain.devices.map(({ rawPath }, slot) => (moving.includes(slot) ? rawPath : null));
          const { config, meta } = plain;
          const request = { image: 'x', config, metaPath: meta.rawPath, rawPaths, reads: ranges };
          const anew = await rearrange({ ...request, outputDir: anewDir }, { reserve: async () => {} });
          expectSame({ ...anew, devices: [...plain.devices, ...anew.devices] });
          expect(readdirSync(anewDir).length).toBe(3 * (anew.devices.length + 1));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('gives the same bytes again, and the next version refers to where things were before', async () => {
    await using directory = await temporaryDirectory('start');
    const reads = [read('b/file-5'), read('a/file-5'), read('a/file-3')];
    const first = await buildHere([lower, upper], join(directory.path, '1'), { reads });
    const again = await buildHere([lower, upper], join(directory.path, '2'), { reads });
    expect(again.config).toEqual(first.config);
    const changed: TarItem = { name: 'a/file-3', data: noise(100_000, 'changed') };
    const next = await buildHere([lower, upper, [changed]], join(directory.path, '3'), {
      reads,
      dictionary: dictionaryOf(first),
    });
    // What is new lies on a device, and what starts read of it on another one; the rest is prefetched where it is.
    expect(next.devices.map(({ file }) => file.rawSizeBytes)).toEqual([102_400, 102_400]);
    expect(new Set(next.config.devices.slice(0, -2))).toEqual(new Set(first.config.devices.slice(0, -1)));
    const root = rootOf(next);
    expect(
      filesIn(root, next.config.prefetch ?? [])
        .flat()
        .map(({ path }) => path),
    ).toEqual(['b/file-5', 'a/file-5', 'a/file-3']);
  });
});

describe('what starts read of a tree', () => {
  it('is prefetched in their order, all of it, with no more than the parts that it lies in', async () => {
    await using directory = await temporaryDirectory('start');
    const built = await buildHere([lower, upper], join(directory.path, 'built'));
    const root = rootOf(built);
    const slot = built.config.devices.length;
    const range = fc.record({
      device: fc.nat(slot - 1),
      offset: fc.nat(700).map((block) => block * 4096),
      length: fc.integer({ min: 1, max: 40 }).map((blocks) => blocks * 4096),
    });
    const filesOf = (ranges: readonly DeviceRange[]) => filesIn(root, ranges).flat();
    fc.assert(
      fc.property(fc.array(range, { maxLength: 30 }), fc.boolean(), (reads, mayMove) => {
        const { parts, prefetch } = planStart(root, reads, { slot, mayMove: () => mayMove });
        const wanted = filesOf(reads);
        if (!mayMove) {
          expect(parts).toEqual([]);
          expect(new Set(filesOf(prefetch).map(({ path }) => path))).toEqual(
            new Set(wanted.map(({ path }) => path)),
          );
          return;
        }
        const totalBytes = parts.reduce((sum, { blocks }) => sum + blocks * 4096, 0);
        expect(prefetch).toEqual(totalBytes === 0 ? [] : [{ device: slot, offset: 0, length: totalBytes }]);
        const moved = filesOf(
          parts.map(({ device, startBlock, blocks }) => ({
            device,
            offset: startBlock * 4096,
            length: blocks * 4096,
          })),
        );
        for (const { path, offset, length } of wanted) {
          for (let at = offset; at < offset + length; at += 4096) {
            expect(
              moved.some((part) => part.path === path && part.offset <= at && at < part.offset + part.length),
            ).toBe(true);
          }
        }
        for (const part of moved) {
          expect(part.length).toBeLessThanOrEqual(PART);
          const end = part.offset + part.length;
          expect(
            wanted.some(
              ({ path, offset, length }) =>
                path === part.path && offset < end && part.offset < offset + length,
            ),
          ).toBe(true);
        }
        expect(moved[0]?.path).toBe(wanted[0]?.path);
      }),
    );
  });
});
