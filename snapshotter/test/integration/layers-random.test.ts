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
  type TarItem,
  tarArchive,
} from '@drakkar/lab';
import { isDrakkarError } from '@drakkar/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { mergeLayers } from '../unit/layers/support.ts';

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

// Few names, so that entries meet: through links, by replacing each other, across layers.
const name = fc.constantFrom('a', 'b', 'c', 'd');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
const target = fc.oneof(
  path,
  path.map((to) => `/${to}`),
  path.map((to) => `../${to}`),
  path.map((to) => `a/../${to}`),
  fc.constantFrom('.', '..', '/', 'b/..'),
);
const attributes = fc
  .record({ small: fc.nat(30), special: fc.constantFrom(0, 0, 0, 0o2000, 0o4000, 0o1000), key: fc.nat(8) })
  .map(({ small, special, key }) => ({
    mode: special | (0o700 + small),
    uid: small,
    gid: small + 1,
    mtime: 1_000_000 + small,
    ...(key < 3 ? { pax: [[`SCHILY.xattr.user.k${key}`, `v${small}`]] as const } : {}),
  }));
const entry = (type: string, more: fc.Arbitrary<Partial<TarItem>> = fc.constant({})): fc.Arbitrary<TarItem> =>
  fc.tuple(path, attributes, more).map(([at, look, rest]) => ({ name: at, type, ...look, ...rest }));
const item: fc.Arbitrary<TarItem> = fc.oneof(
  {
    weight: 5,
    arbitrary: entry(
      '0',
      fc.string({ maxLength: 8 }).map((data) => ({ data })),
    ),
  },
  { weight: 5, arbitrary: entry('5') },
  {
    weight: 3,
    arbitrary: entry(
      '2',
      target.map((linkName) => ({ linkName })),
    ),
  },
  {
    weight: 3,
    arbitrary: entry(
      '1',
      path.map((linkName) => ({ linkName })),
    ),
  },
  { weight: 1, arbitrary: entry('6') },
  {
    weight: 1,
    arbitrary: entry(
      '3',
      fc.nat(1).map((minor) => ({ minor })),
    ),
  },
  {
    weight: 3,
    arbitrary: path.map((at) => ({ name: at.replace(/[^/]+$/, (last) => `.wh.${last}`) })),
  },
  { weight: 1, arbitrary: path.map((at) => ({ name: `${at}/.wh..wh..opq` })) },
);
const stack = fc.array(fc.array(item, { minLength: 1, maxLength: 10 }), { minLength: 1, maxLength: 4 });

/** Leaves out what we refuse ourselves: one such entry would make the whole image say nothing. */
async function acceptable(layers: readonly (readonly TarItem[])[]): Promise<Buffer[]> {
  const archives: Buffer[] = [];
  for (const items of layers) {
    const kept: TarItem[] = [];
    for (const each of items) {
      const accepted = await mergeLayers([...archives, tarArchive([...kept, each])]).then(
        () => true,
        (error: unknown) => !isDrakkarError(error),
      );
      if (accepted) kept.push(each);
    }
    archives.push(tarArchive(kept));
  }
  return archives;
}

let images = 0;

it('random layers, unpacked by containerd, are the tree that we make of them', async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(stack, async (layers) => {
      const archives = await acceptable(layers);
      images += 1;
      const image = imageOf({ layers: archives.map((tar) => layerOf(tar)) });
      await pushImage(registry.url, image, { repository: `random/${images}`, tag: 'test' });
      const reference = `${registry.host}/random/${images}:test`;
      const taken = await containerd.pull(reference).then(
        () => true,
        (error: unknown) => {
          if (String(error).includes('failed to extract layer')) return false;
          throw error;
        },
      );
      if (!taken) return;
      compared += 1;
      await using mounted = await containerd.mount(reference);
      const theirs = await listTree(mounted.path);
      expect(compareTrees(await mergeLayers(archives), theirs, { unpackedSinceSeconds })).toEqual([]);
    }),
    { numRuns: 60 },
  );
  expect(compared).toBeGreaterThan(0);
});
