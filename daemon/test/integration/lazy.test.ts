import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { nativeHelper } from '@drakkar/daemon';
import { dropCaches } from '@drakkar/lab';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { expectBytes, type LazyHost, lazyHost, WAYS } from '../kit/lazy-host.ts';
import { feed, lazyVolume, randomFiles } from '../kit/lazy-volume.ts';
import { byProgramOf, directly, mapped, randomly, sequentially } from '../kit/readers.ts';

const isRoot = process.getuid?.() === 0;
let host: LazyHost;
let ending: AbortController;

beforeEach(async () => {
  host = await lazyHost();
  ending = new AbortController();
});

afterEach(async () => {
  ending.abort();
  await host[Symbol.asyncDispose]();
});

describe.skipIf(!isRoot).each(WAYS)('lazy volumes by $backend on a $backing (need root)', (way) => {
  const { backend, backing } = way;

  test('readers get every byte, though nothing was here when they came', async () => {
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    const volume = lazyVolume(host.content, host.blobs);
    const mounted = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    expect(mounted).toMatchObject({ backend, backing, filling: [{ presentBlocks: 0 }] });
    const feeding = feed(helper, [volume], ending.signal);
    await expectBytes(mounted.path, volume);
    const [status] = await helper.volumes();
    expect(status?.filling).toMatchObject([{ presentBlocks: volume.blocks.length }]);
    ending.abort();
    await feeding;
    dropCaches();
    await expectBytes(mounted.path, volume);
    await helper.umountVolume('v1');
    expect(host.mounts()).toEqual([]);
    await expect.poll(() => host.loops()).toEqual([]);
  });

  test('whoever reads in whatever way while blocks come in any order, all at once, gets every byte', async () => {
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    const program = readFileSync('/usr/bin/sha256sum');
    const files = randomFiles(6, 512 * 1024).set('sha256sum', program);
    const volume = lazyVolume(host.content, host.blobs, { files, blockBytes: 16 * 1024 });
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    const feeding = feed(helper, [volume], ending.signal, () => delay(Math.random() * 20));
    const readers = [sequentially, randomly, mapped, byProgramOf(path, 'sha256sum')];
    await expectBytes(path, volume, ...readers, ...(backing === 'loop' ? [directly] : []));
    ending.abort();
    await feeding;
  });

  test('readers that are killed while they wait leave nothing wrong to others', async () => {
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    const volume = lazyVolume(host.content, host.blobs, { files: 4, blockBytes: 16 * 1024 });
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    const feeding = feed(helper, [volume], ending.signal, () => delay(Math.random() * 20));
    for (let round = 0; round < 10; round += 1) {
      const readers = [...volume.files.keys()].map((name) =>
        spawn('cat', [join(path, name)], { stdio: 'ignore' }),
      );
      const ends = readers.map((reader) => once(reader, 'exit'));
      await delay(Math.random() * 30);
      for (const reader of readers) reader.kill('SIGKILL');
      await Promise.all(ends);
    }
    await expectBytes(path, volume);
    ending.abort();
    await feeding;
  });

  test('a complete volume is left to the kernel while it is read, and new mounts need no help', async () => {
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    const volume = lazyVolume(host.content, host.blobs);
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    await helper.fillDevice({ device: volume.device, blob: volume.blob, blocks: volume.blocks });
    if (backend === 'fanotify') {
      await expectBytes(path, volume);
      // Where nothing is missing nobody is asked.
      expect(await helper.touches('v1')).toEqual([]);
      dropCaches();
    }
    const reading = expectBytes(path, volume, sequentially, mapped, randomly);
    const retired = await helper.retireVolume('v1');
    await reading;
    // Who is mounted on a file of ours goes on reading it.
    const isThroughFile = backend === 'fuse' && backing === 'file';
    expect(retired.backend).toBe(isThroughFile ? 'fuse' : null);
    expect(host.mounts('fuse')).toHaveLength(isThroughFile ? 1 : 0);
    dropCaches();
    await expectBytes(path, volume);
    expect((await helper.retireVolume('v1')).backend).toBe(retired.backend);
    await helper.umountVolume('v1');
    const whole = volume.mount.devices.map((device) => ({ ...device, complete: true }));
    const again = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way, devices: whole });
    expect(again).toMatchObject({ backend: null, filling: [] });
    expect(host.mounts('fuse')).toEqual([]);
    await expectBytes(again.path, volume);
    await helper.umountVolume('v1');
  });

  test('what is complete and wrong is missing again, and readers wait until it has come anew', async () => {
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    const volume = lazyVolume(host.content, host.blobs);
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    const [first, second, ...rest] = volume.blocks;
    if (first === undefined || second === undefined) throw new Error('a volume of one block');
    const swapped = [
      { ...first, block: second.block },
      { ...second, block: first.block },
    ];
    const { device, blob } = volume;
    await helper.fillDevice({ device, blob, blocks: [...swapped, ...rest] });
    await expect(helper.retireVolume('v1')).rejects.toMatchObject({ code: 'invalid_content' });
    expect(await helper.presentBlocks(device)).toEqual([]);
    dropCaches();
    void feed(helper, [volume], ending.signal);
    await expectBytes(path, volume, sequentially, randomly);
    ending.abort();
    expect((await helper.retireVolume('v1')).volume).toBe('v1');
  });

  test('two volumes share a device, which is filled once and goes with the last of them', async () => {
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    const volume = lazyVolume(host.content, host.blobs, { files: 4 });
    const other = lazyVolume(host.content, host.blobs, { files: volume.files });
    expect(other.device).toBe(volume.device);
    const first = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    const second = await helper.mountVolume({ volume: 'v2', ...other.mount, ...way });
    void feed(helper, [volume], ending.signal);
    await expectBytes(first.path, volume);
    ending.abort();
    await helper.umountVolume('v1');
    dropCaches();
    await expectBytes(second.path, other);
    await helper.umountVolume('v2');
    expect(host.mounts()).toEqual([]);
  });
});

describe.skipIf(!isRoot)('lazy volumes of several backends (need root)', () => {
  test('share a device, and each is left to the kernel as soon as it can be', async () => {
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    const volume = lazyVolume(host.content, host.blobs, { files: 2 });
    const volumes = WAYS.map((way, index) => ({ way, id: `v${index}` }));
    for (const { way, id } of volumes) {
      const { mount } = lazyVolume(host.content, host.blobs, { files: volume.files });
      await helper.mountVolume({ volume: id, ...mount, ...way });
    }
    await helper.fillDevice({ device: volume.device, blob: volume.blob, blocks: volume.blocks });
    await helper.retireVolume('v0');
    const backends = (await helper.volumes()).map(({ backend }) => backend);
    expect(backends).toEqual([null, 'fuse', null]);
    dropCaches();
    for (const { path } of await helper.volumes()) await expectBytes(path, volume);
    await helper.umountVolume('v1');
    expect(host.mounts('fuse')).toEqual([]);
    dropCaches();
    for (const { path } of await helper.volumes()) await expectBytes(path, volume);
    for (const { id } of volumes) await helper.umountVolume(id);
  });

  test('are filled by the best that works here, unless they say otherwise', async () => {
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    const { backends } = await helper.probe();
    const first = lazyVolume(host.content, host.blobs, { files: 1 });
    const auto = await helper.mountVolume({ volume: 'v1', ...first.mount, backend: 'auto' });
    expect(auto.backend).toBe(backends[0]);
    const second = lazyVolume(host.content, host.blobs, { files: 1 });
    const looped = { ...second.mount, backend: 'auto', backing: 'loop' } as const;
    expect(await helper.mountVolume({ volume: 'v2', ...looped })).toMatchObject({
      backend: 'fuse',
      backing: 'loop',
    });
    const impossible = helper.mountVolume({ volume: 'v3', ...looped, backend: 'fanotify' });
    await expect(impossible).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(helper.mountVolume({ volume: 'v3', ...looped, backend: 'local' })).rejects.toMatchObject({
      code: 'not_found',
    });
    for (const volume of ['v1', 'v2']) await helper.umountVolume(volume);
  });
});
