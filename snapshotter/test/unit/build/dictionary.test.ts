import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { noise, type TarItem, temporaryDirectory } from '@drakkar/lab';
import { digestOf, MAX_DEVICES, type VolumeFile } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type DictionarySource,
  hardlyUsed,
  MAX_DICTIONARY_DEVICES,
  worthKeeping,
} from '../../../src/build/dictionary.ts';
import type { Built } from '../../../src/build/request.ts';
import { buildHere, dictionaryOf } from './support.ts';

describe('the choice of an earlier snapshot’s devices', () => {
  it('takes those of which a good part is used, and of too many the most used', () => {
    expect(worthKeeping([100, 0, 24, 25, 7], [100, 50, 100, 100, 7])).toEqual([0, 3, 4]);
    expect(worthKeeping([5, 9, 7, 9], [9, 9, 9, 9], 2)).toEqual([1, 3]);
  });

  it('is bounded, and never leaves more behind than a quarter of a device, where there is room', () => {
    const device = fc
      .integer({ min: 1, max: 10_000 })
      .chain((blocks) =>
        fc.record({ blocks: fc.constant(blocks), used: fc.integer({ min: 0, max: blocks }) }),
      );
    fc.assert(
      fc.property(fc.array(device, { maxLength: MAX_DEVICES }), (devices) => {
        const kept = worthKeeping(
          devices.map(({ used }) => used),
          devices.map(({ blocks }) => blocks),
        );
        expect(kept.length).toBeLessThanOrEqual(MAX_DICTIONARY_DEVICES);
        expect(kept).toEqual([...new Set(kept)].sort((a, b) => a - b));
        const left = devices.filter((_, slot) => !kept.includes(slot));
        for (const slot of kept) expect(devices[slot]?.used).toBeGreaterThan(0);
        if (kept.length === MAX_DICTIONARY_DEVICES) return;
        for (const { used, blocks } of left) expect(used).toBeLessThan(Math.max(1, blocks / 4));
      }),
    );
  });
});

describe('devices that a new snapshot hardly uses', () => {
  const file = (name: string, blocks: number) =>
    ({ rawDigest: digestOf(name), rawSizeBytes: blocks * 4096 }) as VolumeFile;
  const [large, small, made] = [file('large', 1000), file('small', 10), file('made', 100)];

  it('are named where they hold much in vain, and only those of the earlier snapshot', () => {
    const uses = [
      { file: large, usedBlocks: 5 },
      { file: small, usedBlocks: 10 },
      { file: made, usedBlocks: 1 },
    ];
    expect(hardlyUsed(uses, [large, small])).toEqual([large.rawDigest]);
    expect(hardlyUsed(uses, [])).toEqual([]);
  });

  it('are none where the snapshot is large beside what they hold', () => {
    const uses = [
      { file: large, usedBlocks: 900 },
      { file: small, usedBlocks: 1 },
    ];
    expect(hardlyUsed(uses, [large, small])).toEqual([]);
  });
});

const sizeOf = (files: readonly VolumeFile[]) =>
  files.reduce((total, { rawSizeBytes }) => total + rawSizeBytes, 0);

const FILE_BYTES = 20_000;
const base: TarItem[] = Array.from({ length: 40 }, (_, index) => ({
  name: `lib/file-${index}`,
  data: noise(FILE_BYTES, `base ${index}`),
}));

describe('a build upon an earlier snapshot', () => {
  it('stores what is new, and refers to the earlier devices for the rest', async () => {
    await using directory = await temporaryDirectory('dictionary');
    const first = await buildHere([base, [{ name: 'app', data: 'one' }]], join(directory.path, '1'));
    const changed = base.with(7, { name: 'lib/file-7', data: noise(FILE_BYTES, 'new') });
    const second = await buildHere([changed, [{ name: 'app', data: 'two' }]], join(directory.path, '2'), {
      dictionary: dictionaryOf(first),
    });
    expect(second.dictionaryFailure).toBeNull();
    expect(second.config.devices[0]).toEqual(first.config.devices[0]);
    expect(sizeOf(second.devices.map(({ file }) => file))).toBe(5 * 4096 + 4096);
    expect(second.stats.dictionaryBytes).toBe(39 * FILE_BYTES);
  });

  it('of the same content adds no device, and finds what a later layer hides', async () => {
    await using directory = await temporaryDirectory('dictionary');
    const hiding = [{ name: 'lib/file-3', data: noise(FILE_BYTES, 'over') }];
    const first = await buildHere([base, hiding], join(directory.path, '1'));
    const second = await buildHere([base, [...hiding, { name: 'empty' }]], join(directory.path, '2'), {
      dictionary: dictionaryOf(first),
    });
    expect(second.devices).toEqual([]);
    expect(second.config.devices).toEqual(first.config.devices);
    expect(second.config.chunks).toEqual(first.config.chunks);
  });

  it('gives the same bytes again', async () => {
    await using directory = await temporaryDirectory('dictionary');
    const first = await buildHere([base], join(directory.path, '1'));
    const again = ['2', '3'].map((name) =>
      buildHere([[...base.slice(5), { name: 'new', data: noise(50_000, 'x') }]], join(directory.path, name), {
        dictionary: dictionaryOf(first),
      }),
    );
    const [one, other] = await Promise.all(again);
    expect(other?.config).toEqual(one?.config);
  });

  it.each([
    ['is missing', (source: DictionarySource) => ({ ...source, listPath: `${source.listPath}-not` })],
    [
      'is another',
      (source: DictionarySource) => ({ ...source, list: { ...source.list, blobDigest: digestOf('x') } }),
    ],
    ['is of other devices', (source: DictionarySource) => ({ ...source, devices: [] })],
    [
      'is longer than it says',
      (source: DictionarySource) => ({ ...source, list: { ...source.list, rawSizeBytes: 12 } }),
    ],
  ])('is done without it where its list %s, and says so', async (_name, change) => {
    await using directory = await temporaryDirectory('dictionary');
    const first = await buildHere([base], join(directory.path, '1'));
    const second = await buildHere([base], join(directory.path, '2'), {
      dictionary: change(dictionaryOf(first)),
    });
    expect(second.dictionaryFailure).not.toBeNull();
    expect(second.config).toEqual(first.config);
  });

  it('is done without it where its list is damaged', async () => {
    await using directory = await temporaryDirectory('dictionary');
    const first = await buildHere([base], join(directory.path, '1'));
    const source = dictionaryOf(first);
    const blob = readFileSync(source.listPath);
    blob.writeUInt8(blob.readUInt8(blob.length >> 1) ^ 1, blob.length >> 1);
    await writeFile(source.listPath, blob);
    for (const list of [source.list, { ...source.list, blobDigest: digestOf(blob) }]) {
      const name = list === source.list ? '2' : '3';
      const second = await buildHere([base], join(directory.path, name), {
        dictionary: { ...source, list },
      });
      // A changed sha256 is a chunk that nobody asks for.
      if (list === source.list) expect(second.dictionaryFailure).not.toBeNull();
      expect(sizeOf(second.config.devices)).toBeGreaterThanOrEqual(sizeOf(first.config.devices));
    }
  });

  it('refers to no device that it may not', async () => {
    await using directory = await temporaryDirectory('dictionary');
    const first = await buildHere([base, [{ name: 'app', data: 'one' }]], join(directory.path, '1'));
    const second = await buildHere([base], join(directory.path, '2'), {
      dictionary: { ...dictionaryOf(first), usable: [1] },
    });
    expect(second.config.devices.length).toBe(1);
    expect(second.stats.dictionaryBytes).toBe(0);
  });

  it('of fifty versions has a bounded number of devices, of which a good part is used', async () => {
    await using directory = await temporaryDirectory('dictionary');
    const contents = Array.from({ length: 12 }, (_, layer) =>
      Array.from({ length: 20 }, (_, index) => noise(6000 + index * 100, `${layer} ${index}`)),
    );
    const original = structuredClone(contents);
    let earlier: Built | undefined;
    let [changedBytes, storedBytes, most] = [0, 0, 0];
    for (let version = 1; version <= 50; version++) {
      if (version > 1) {
        for (let change = 0; change < 6; change++) {
          const seed = createHash('sha256').update(`${version} ${change}`).digest();
          const data = noise(6000 + (seed[2] ?? 0) * 10, `changed ${version} ${change}`);
          contents[(seed[0] ?? 0) % 12]?.splice((seed[1] ?? 0) % 20, 1, data);
          changedBytes += data.length;
        }
      }
      const layers = contents.map((files, layer) =>
        files.map((data, index) => ({ name: `layer-${layer}/file-${index}`, data })),
      );
      const built = await buildHere(
        layers,
        join(directory.path, `${version}`),
        earlier === undefined ? {} : { dictionary: dictionaryOf(earlier) },
      );
      const { devices } = built.config;
      expect(devices.length).toBeLessThanOrEqual(MAX_DEVICES);
      if (version > 1) storedBytes += sizeOf(built.devices.map(({ file }) => file));
      const imageBytes = layers.flat().reduce((total, { data }) => total + data.length, 0);
      most = Math.max(most, sizeOf(devices) / imageBytes);
      earlier = built;
    }
    expect(contents.flat().filter((data) => original.flat().includes(data)).length).toBeLessThan(60);
    expect(most).toBeLessThan(4);
    expect(storedBytes).toBeLessThan(3 * changedBytes);
  }, 60_000);
});
