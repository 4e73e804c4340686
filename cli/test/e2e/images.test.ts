import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import {
  type Containerd,
  compareTrees,
  listTree,
  pushImage,
  type Registry,
  startContainerd,
  startRegistry,
} from '@drakkar/lab';
import { hexOf, type VolumeFile } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, startHost } from '../kit/drakkar.ts';
import { COLLECTION, type CollectedImage } from '../kit/image-collection.ts';

const isRoot = process.getuid?.() === 0;
const MAX_DEVICES = 64;
/** Few and many devices, none at all, and what a mount could get wrong. */
const EITHER_BACKING = ['shell', 'eighty-layers', 'attributes', 'no-layers', 'sizes'];

/** Registry, daemon, builder, helper and kernel on one side; registry, containerd and its overlayfs on the other. */
describe.skipIf(!isRoot)('images (needs root)', () => {
  let registry: Registry;
  let containerd: Containerd;
  let host: Host;
  /** Layers that images share are unpacked once, perhaps long before the image at hand. */
  const unpackedSinceSeconds = Math.floor(Date.now() / 1000);

  beforeAll(async () => {
    registry = await startRegistry();
    containerd = await startContainerd();
    host = await startHost();
  });

  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await containerd?.stop();
    await registry?.stop();
  });

  const pushed = async ({ name, make }: CollectedImage): Promise<string> => {
    await pushImage(registry.url, await make(), { repository: name, tag: 'test' });
    return `${registry.host}/${name}:test`;
  };

  test.each(COLLECTION)(
    '$name: mounted, it is what containerd unpacks; fsck.erofs accepts it',
    async (collected) => {
      const image = await pushed(collected);
      expect(await host.client.buildSnapshot({ image })).toMatchObject({
        found: 'built',
        offlineReady: true,
      });
      const { path } = await host.client.mountSnapshot(image);
      await containerd.pull(image);
      await using theirs = await containerd.mount(image);
      const [ours, unpacked] = [await listTree(path), await listTree(theirs.path)];
      expect(compareTrees(ours, unpacked, { unpackedSinceSeconds })).toEqual([]);
      await host.client.umountSnapshot(image);
      const { config } = await host.client.snapshot(image);
      expect(config.devices.length).toBeLessThanOrEqual(MAX_DEVICES);
      const pathOf = ({ rawDigest }: VolumeFile) => join(host.state, 'volumes', hexOf(rawDigest));
      const devices = config.devices.map((device) => `--device=${pathOf(device)}`);
      execFileSync('fsck.erofs', ['--extract', ...devices, pathOf(config.meta)], { stdio: 'pipe' });
    },
  );

  describe.each(['file', 'loop'] as const)('mounted from backing %s', (backing) => {
    let other: Host;
    beforeAll(async () => {
      other = await startHost({ native: { backing } });
    });
    afterAll(() => other?.[Symbol.asyncDispose]());

    test.each(COLLECTION.filter(({ name }) => EITHER_BACKING.includes(name)))(
      '$name is the same tree',
      async (collected) => {
        const image = await pushed(collected);
        await other.client.buildSnapshot({ image });
        const mounted = await other.client.mountSnapshot(image);
        expect(mounted.backing).toBe(backing);
        await containerd.pull(image);
        await using theirs = await containerd.mount(image);
        const [ours, unpacked] = [await listTree(mounted.path), await listTree(theirs.path)];
        expect(compareTrees(ours, unpacked, { unpackedSinceSeconds })).toEqual([]);
        await other.client.umountSnapshot(image);
      },
    );
  });
});
