import { open } from 'node:fs/promises';
import {
  compareTrees,
  imageOf,
  layerOf,
  noise,
  pushImage,
  type Registry,
  startRegistry,
  type TarItem,
  tarArchive,
} from '@drakkar/lab';
import type { SnapshotConfig, VolumeFile } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Acquisition } from '../../src/snapshots/acquire.ts';
import { allBlobsOf, allDigests, isLocal } from '../../src/snapshots/modules.ts';
import { builderKey, type SnapshotHost, startSnapshotHost } from '../kit/snapshots.ts';

function packageFiles(name: string, version: number): TarItem[] {
  return Array.from({ length: 12 }, (_, index) => ({
    name: `usr/lib/${name}/part-${index}`,
    data: noise(30_000 + index * 9000, `${name} ${version} ${index}`),
  }));
}

/** A base, packages of which one has another version each time, and a small application on top. */
function layersOf(version: number): TarItem[][] {
  const packages = Array.from({ length: 8 }, (_, index) =>
    packageFiles(`package-${index}`, index === 3 ? version : 1),
  );
  return [
    Array.from({ length: 40 }, (_, index) => ({
      name: `lib/base-${index}`,
      data: noise(60_000 + index * 1000, `base ${index}`),
    })),
    [...packages.flat(), { name: 'var/lib/status', data: `package-3 has version ${version}` }],
    [{ name: 'app/main', data: noise(5000, 'app') }],
  ];
}

const CHANGED_BYTES = packageFiles('package-3', 1).reduce((total, { data = '' }) => total + data.length, 0);

async function damage(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write('damaged', 100);
}

const sum = (files: readonly VolumeFile[], size: (file: VolumeFile) => number) =>
  files.reduce((total, file) => total + size(file), 0);

const newDevices = (config: SnapshotConfig, earlier: SnapshotConfig) =>
  config.devices.filter(({ rawDigest }) => !earlier.devices.some((device) => device.rawDigest === rawDigest));

describe('a new version of an image', () => {
  let registry: Registry;
  let repositories = 0;

  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry?.[Symbol.asyncDispose]());

  /** A repository of its own, and how to push versions to it. */
  function repository() {
    const name = `apps/app-${++repositories}`;
    return async (version: number, layers: readonly TarItem[][] = layersOf(version)): Promise<string> => {
      const image = imageOf({
        layers: layers.map((items) => layerOf(tarArchive(items), { compression: 'none' })),
      });
      await pushImage(registry.url, image, { repository: name, tag: `v${version}` });
      return `${registry.host}/${name}:v${version}`;
    };
  }

  const forget = ({ store }: SnapshotHost, digests: Iterable<Acquisition['record']['manifestDigest']>) => {
    for (const digest of digests) store.remove(digest);
  };

  test('moves about what has changed, and is the same tree', async () => {
    const push = repository();
    const [images, key] = [[await push(1), await push(2)] as const, builderKey()];
    await using builder = await startSnapshotHost({ keys: [key] });
    await using host = await startSnapshotHost({ keys: [builderKey(), key] });
    await using alone = await startSnapshotHost({ buildUponEarlier: false });
    const first = await builder.acquire(images[0]);
    await builder.push(first);
    expect(await host.acquire(images[0])).toMatchObject({ found: 'registry' });

    const second = await builder.acquire(images[1]);
    await builder.push(second);
    const there = await host.acquire(images[1]);
    expect(there.found).toBe('registry');
    const { config } = there.record;
    const added = newDevices(config, first.record.config);
    const changedRatio = sum(added, ({ rawSizeBytes }) => rawSizeBytes) / CHANGED_BYTES;
    const movedRatio = there.work.receipt.upstreamBytes / CHANGED_BYTES;
    console.log(
      `new devices ${changedRatio.toFixed(3)} ×, all that the host moved ${movedRatio.toFixed(3)} × the changed bytes`,
    );
    expect(changedRatio).toBeLessThanOrEqual(1.2);
    expect(movedRatio).toBeLessThanOrEqual(1.2);

    const { record } = await alone.acquire(images[1]);
    expect(newDevices(record.config, first.record.config).length).toBe(1);
    expect(compareTrees(await host.treeOf(config), await alone.treeOf(record.config))).toEqual([]);
    expect((await host.service.verify(images[1], there.work)).verifiedBytes).toBeGreaterThan(0);
    expect(builder.warnings).toEqual([]);
  });

  test('gets the same snapshot from every host that builds upon the same one', async () => {
    const push = repository();
    const [images, key] = [[await push(1), await push(2)] as const, builderKey()];
    await using one = await startSnapshotHost({ keys: [key] });
    await using other = await startSnapshotHost({ keys: [builderKey(), key] });
    await one.push(await one.acquire(images[0]));
    await other.acquire(images[0]);
    const [here, there] = [await one.acquire(images[1]), await other.acquire(images[1])];
    expect(there.found).toBe('built');
    expect(there.record.config).toEqual(here.record.config);
  });

  test('refers, through versions, to all that is still used; an earlier one can be removed', async () => {
    const push = repository();
    await using host = await startSnapshotHost();
    const versions: Acquisition[] = [];
    for (const version of [1, 2, 3, 4]) versions.push(await host.acquire(await push(version)));
    const [first, second, , last] = versions.map(({ record }) => record);
    if (first === undefined || second === undefined || last === undefined) throw new Error('no versions');
    for (const device of first.config.devices) expect(last.config.devices).toContainEqual(device);
    // What the second one added has been replaced since.
    for (const device of newDevices(second.config, first.config)) {
      expect(last.config.devices).not.toContainEqual(device);
    }
    await host.service.remove(first.manifestDigest);
    await host.service.remove(second.manifestDigest);
    expect(await isLocal(last.config, 'whole', host.store)).toBe(true);
    for (const { rawDigest } of newDevices(second.config, last.config)) {
      expect(host.store.has(rawDigest)).toBe(false);
    }
    expect((await host.treeOf(last.config)).size).toBeGreaterThan(100);
  });

  test('is never built upon itself', async () => {
    const push = repository();
    const image = await push(1);
    await using host = await startSnapshotHost();
    const { record } = await host.acquire(image);
    const again = await host.acquire(image, { rebuild: true });
    expect(again.found).toBe('built');
    expect(again.record.config).toEqual(record.config);
  });

  test('is whole also where the earlier files are gone from the builder, and needs none of them to be pushed', async () => {
    const push = repository();
    const images = [await push(1), await push(2)] as const;
    await using host = await startSnapshotHost();
    const first = await host.acquire(images[0]);
    await host.push(first);
    forget(host, allDigests(first.record.config));
    const second = await host.acquire(images[1]);
    expect(second.record.config.devices).toContainEqual(first.record.config.devices[0]);
    expect(await isLocal(second.record.config, 'whole', host.store)).toBe(true);
    const blobs = allBlobsOf(first.record.config).map(({ digest }) => digest);
    forget(host, blobs);
    await host.push(second);
    expect(host.warnings).toEqual([]);
  });

  test('is built without devices that neither the host nor the registry can give to others', async () => {
    const push = repository();
    const images = [await push(1), await push(2)] as const;
    await using host = await startSnapshotHost();
    const first = await host.acquire(images[0]);
    const [base] = first.record.config.devices;
    if (base === undefined) throw new Error('no device');
    forget(host, [base.blobDigest]);
    const second = await host.acquire(images[1]);
    expect(second.record.config.devices.length).toBeGreaterThan(0);
    const earlier = first.record.config.devices.slice(1);
    for (const device of earlier) expect(second.record.config.devices).toContainEqual(device);
    await host.push(second);
    await using other = await startSnapshotHost();
    expect((await other.acquire(images[1])).found).toBe('built');
  });

  test('leaves behind what an image with another base hardly uses', async () => {
    const push = repository();
    const [base = [], packages = [], app = []] = layersOf(1);
    const few = packages.slice(0, 12);
    const other = base.map(({ name }, index) =>
      index === 0 ? (base[0] ?? { name }) : { name, data: noise(70_000, `other base ${index}`) },
    );
    await using host = await startSnapshotHost();
    const first = await host.acquire(await push(1, [base, few, app]));
    const second = await host.acquire(await push(2, [other, few, app]));
    const [, ...rest] = first.record.config.devices;
    expect(second.record.config.devices).not.toContainEqual(first.record.config.devices[0]);
    for (const device of rest) expect(second.record.config.devices).toContainEqual(device);
    expect((await host.treeOf(second.record.config)).size).toBeGreaterThan(50);
  });

  test('is built alone where the chunk list is lost, or an earlier device damaged, and says so', async () => {
    const push = repository();
    const images = [await push(1), await push(2), await push(3)] as const;
    await using host = await startSnapshotHost();
    await using alone = await startSnapshotHost({ buildUponEarlier: false });
    const first = await host.acquire(images[0]);
    forget(host, [first.record.config.chunks?.blobDigest ?? first.record.manifestDigest]);
    const second = await host.acquire(images[1]);
    expect(second.record.config).toEqual((await alone.acquire(images[1])).record.config);
    expect(host.warnings).toEqual(['an earlier snapshot is not built upon']);

    const [base] = second.record.config.devices;
    if (base === undefined) throw new Error('no device');
    forget(host, [base.rawDigest]);
    await damage(host.store.pathOf(base.blobDigest));
    const third = await host.acquire(images[2]);
    expect(third.record.config).toEqual((await alone.acquire(images[2])).record.config);
    expect(await isLocal(third.record.config, 'whole', host.store)).toBe(true);
    expect(host.warnings.at(-1)).toMatch(/built again without/);
  });
});
