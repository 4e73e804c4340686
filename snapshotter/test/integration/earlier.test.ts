import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  compareTrees,
  layerOf,
  listTree,
  noise,
  type TarItem,
  tarArchive,
  temporaryDirectory,
} from '@drakkar/lab';
import type { Digest } from '@drakkar/protocol';
import { expect, it } from 'vitest';
import type { BuildResult } from '../../src/index.ts';
import { buildLayers } from '../support/builds.ts';
import { mountErofs } from '../support/mounts.ts';
import { dictionaryOf } from '../unit/build/support.ts';
import { mergeLayers } from '../unit/layers/support.ts';
import { CORPUS } from './layers-corpus.ts';

/** Some files of every size, of which `version` changes a few, and some are not there in every version. */
function versionOf(version: number): TarItem[][] {
  const sizes = [0, 1, 4095, 4096, 4097, 100_000, 1_048_576, 1_048_577, 3_000_000];
  const files = (layer: number) =>
    sizes.map((sizeBytes, index) => ({
      name: `layer-${layer}/file-${index}`,
      data: noise(sizeBytes, `${layer} ${index} ${(index + layer) % 4 === version % 4 ? version : 0}`),
    }));
  return [files(0), files(1).slice(version % 3), [{ name: 'layer-0/file-5', data: `hides ${version}` }]];
}

/** Builds versions one upon the other and compares each, as it is mounted, with its merged layers. */
async function compareVersions(
  versions: readonly (readonly Uint8Array[])[],
  { isRead }: { readonly isRead: boolean },
): Promise<BuildResult[]> {
  await using directory = await temporaryDirectory('earlier');
  const rawPaths = new Map<Digest, string>();
  const results: BuildResult[] = [];
  for (const [index, tars] of versions.entries()) {
    const outputDir = join(directory.path, `${index}`);
    mkdirSync(outputDir);
    const layers = tars.map((tar) => layerOf(tar, { compression: 'none' }));
    const earlier = results.at(-1);
    const tree = await mergeLayers(tars);
    const everyOther = (offset: number) => (path: string) => ({ path, offset, length: 100_000 });
    const paths = [...tree.keys()].reverse();
    const reads = isRead ? [...paths.map(everyOther(0)), ...paths.map(everyOther(2_000_000))] : [];
    const request = earlier === undefined ? { reads } : { reads, dictionary: dictionaryOf(earlier) };
    const result = await buildLayers(layers, outputDir, { request });
    for (const { digest, path } of result.files) rawPaths.set(digest, path);
    const devices = result.config.devices.map(({ rawDigest }) => rawPaths.get(rawDigest) ?? '');
    using mounted = mountErofs(result.meta.rawPath, devices);
    expect(compareTrees(await listTree(mounted.path), tree)).toEqual([]);
    results.push(result);
  }
  return results;
}

it.each([false, true])(
  'versions built one upon the other are their merged layers; read by starts: %s',
  async (isRead) => {
    const versions = [1, 2, 3, 4, 5].map((version) => versionOf(version).map((items) => tarArchive(items)));
    const results = await compareVersions(versions, { isRead });
    for (const { stats, dictionaryFailure } of results.slice(1)) {
      expect(dictionaryFailure).toBeNull();
      expect(stats.dictionaryBytes).toBeGreaterThan(1_000_000);
    }
  },
);

it.each([false, true])(
  'odd layers are, too, each upon the one before; read by starts: %s',
  async (isRead) => {
    // Each in one of both ways.
    const cases = CORPUS.filter(({ expect: wanted }) => wanted === 'same').filter(
      (_, index) => index % 2 === Number(isRead),
    );
    const versions = cases.map(({ layers }) => layers.map(({ tar }) => tar));
    const results = await compareVersions(versions, { isRead });
    expect(results.every(({ dictionaryFailure }) => dictionaryFailure === null)).toBe(true);
  },
);
