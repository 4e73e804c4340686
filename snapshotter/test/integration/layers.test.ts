import {
  type Containerd,
  compareTrees,
  imageOf,
  layerOf,
  listTree,
  pushImage,
  type Registry,
  startContainerd,
  startRegistry,
} from '@drakkar/lab';
import { isDrakkarError } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mergeLayers } from '../unit/layers/support.ts';
import { CORPUS, type CorpusImage } from './layers-corpus.ts';

/** Our merged tree, held against what real containerd's overlayfs shows of the same image. */
describe('the merged tree of layers', () => {
  let registry: Registry;
  let containerd: Containerd;
  /** Layers that images share are unpacked once, perhaps long before the image at hand. */
  const unpackedSinceSeconds = Math.floor(Date.now() / 1000);

  beforeAll(async () => {
    registry = await startRegistry();
    containerd = await startContainerd();
  });
  afterAll(async () => {
    await containerd?.stop();
    await registry?.stop();
  });

  const push = async (image: CorpusImage): Promise<string> => {
    const built = imageOf({
      schema: image.schema ?? 'oci',
      layers: image.layers.map(({ tar, ...options }) => layerOf(tar, options)),
    });
    await pushImage(registry.url, built, { repository: `corpus/${image.name}`, tag: 'test' });
    return `${registry.host}/corpus/${image.name}:test`;
  };
  const merge = (image: CorpusImage) => mergeLayers(image.layers.map(({ tar }) => tar));

  it.each(CORPUS.filter((image) => image.expect === 'same'))(
    'equals containerd’s: $name ($about)',
    async (image) => {
      const reference = await push(image);
      await containerd.pull(reference);
      await using mounted = await containerd.mount(reference);
      const theirs = await listTree(mounted.path);
      expect(compareTrees(await merge(image), theirs, { unpackedSinceSeconds })).toEqual([]);
    },
  );

  it.each(CORPUS.filter((image) => image.expect === 'refused'))(
    'is refused by both: $name ($about)',
    async (image) => {
      const error = await merge(image).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(isDrakkarError(error), String(error)).toBe(true);
      expect(String(error)).toMatch(/layer \d/);
      await expect(containerd.pull(await push(image))).rejects.toThrow(/failed to extract layer/);
    },
  );

  it.each(CORPUS.filter((image) => image.expect === 'ours'))(
    'is refused by containerd only: $name ($about)',
    async (image) => {
      const tree = await merge(image);
      for (const [path, there] of Object.entries(image.paths ?? {})) expect(tree.has(path), path).toBe(there);
      await expect(containerd.pull(await push(image))).rejects.toThrow(/failed to extract layer/);
    },
  );
});
