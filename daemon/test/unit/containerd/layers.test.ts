import { DrakkarError } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { NativeLayers } from '../../../src/containerd/layers.ts';

const image = { image: 'example.com/app@sha256:…', manifestDigest: 'sha256:…', layer: 2, layers: 3 };

test('a volume is mounted for the first who stands upon it, and again when it is gone', async () => {
  const mounted: [image: string, layers: number | undefined][] = [];
  let there = new Set<string>();
  const helper = {
    connections: 1,
    prepareLayer: async ({
      layer,
      parents,
      volume,
    }: {
      layer: string;
      parents: readonly string[];
      volume: string | null;
    }) => {
      if (volume !== null && !there.has(volume)) throw new DrakkarError('not_found', 'it is gone');
      return {
        layer,
        upperdir: '/u',
        workdir: '/w',
        lowerdirs: [...parents, ...(volume === null ? [] : [volume])],
      };
    },
    removeLayer: async () => {},
    layerUsage: async () => ({ bytes: 0, inodes: 0 }),
    layers: async () => ['snapshot-1', 'of-another'],
  };
  let changes = 0;
  const mount = async (name: string, lowest: number | undefined) => {
    mounted.push([name, lowest]);
    const volume = `volume-${mounted.length}`;
    there.add(volume);
    return volume;
  };
  const images = {
    get changes() {
      return changes;
    },
    mount,
  };
  const layers = new NativeLayers({ quick: helper, slow: helper }, images, { warn: () => {} });
  const upon = async (id: string) => (await layers.prepareUpon(id, ['1'], image, null)).lowerdirs;
  expect(await upon('2')).toEqual(['snapshot-1', 'volume-1']);
  expect(await upon('3')).toEqual(['snapshot-1', 'volume-1']);
  there = new Set();
  expect(await upon('4')).toEqual(['snapshot-1', 'volume-2']);
  changes += 1;
  expect(await upon('7')).toEqual(['snapshot-1', 'volume-3']);
  await layers.prepareUpon('5', [], { ...image, layer: 0 }, null);
  expect(mounted.map(([, lowest]) => lowest)).toEqual([undefined, undefined, undefined, 1]);
  expect(await layers.list()).toEqual(['1']);
});
