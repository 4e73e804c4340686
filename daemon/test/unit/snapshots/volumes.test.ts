import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { type Digest, DrakkarError, digestOf, hexOf, type SnapshotConfig } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import type { NativeHelper, VolumeStatus } from '../../../src/native.ts';
import { Volumes, volumeId } from '../../../src/snapshots/volumes.ts';
import { openStore } from '../../../src/store/index.ts';

/** What the helper remembers, without a kernel behind it; each verb takes a turn of the event loop, in order. */
class Helper {
  readonly volumes = new Map<string, VolumeStatus>();
  readonly overlays = new Set<string>();
  #last: Promise<unknown> = Promise.resolve();

  readonly client = {
    mountVolume: ({ volume, meta, devices }: Parameters<NativeHelper['mountVolume']>[0]) =>
      this.#verb(() => {
        const ids = devices.map(({ digest }) => hexOf(digest));
        const status = { volume, meta: hexOf(meta), devices: ids, mounted: true, filling: [] };
        const kernelAlone = { backing: 'file', backend: null } as const;
        this.volumes.set(volume, { ...status, ...kernelAlone, path: `/${volume}`, overlays: [] });
        return this.volumes.get(volume);
      }),
    umountVolume: (volume: string) => this.#verb(() => void this.volumes.delete(volume)),
    volumes: () => this.#verb(() => [...this.volumes.values()]),
    prepareOverlay: ({ overlay }: { overlay: string }, { signal }: { signal?: AbortSignal } = {}) =>
      this.#verb(() => {
        this.overlays.add(overlay);
        signal?.throwIfAborted();
        return { rootfs: `/${overlay}` };
      }),
    removeOverlay: (overlay: string) => this.#verb(() => void this.overlays.delete(overlay)),
  } as unknown as NativeHelper;

  #verb<Value>(work: () => Value): Promise<Value> {
    const mine = this.#last.then(() => new Promise((resolve) => setImmediate(resolve))).then(work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}

const log = { debug() {}, info() {}, warn() {}, error() {} };

async function scene() {
  const directory = await temporaryDirectory('volumes');
  const store = await openStore({ directory: directory.path, quotaBytes: 1024 ** 2 });
  const file = async (name: string) => {
    const path = join(store.stagingDirectory, name);
    await writeFile(path, name);
    using reservation = store.reserve(name, name.length);
    await store.adopt(path, digestOf(name), name.length, 'volume', reservation);
    return volumeFile(digestOf(name));
  };
  const volumeFile = (rawDigest: Digest) => ({ rawDigest }) as SnapshotConfig['meta'];
  const config = {
    meta: await file('meta'),
    devices: [await file('device')],
  } as unknown as SnapshotConfig;
  const helper = new Helper();
  const forgotten: Digest[] = [];
  const forget = async (devices: Iterable<Digest>) => void forgotten.push(...devices);
  const volumes = new Volumes(
    { backend: 'local', backing: 'auto' },
    {
      native: helper.client,
      store,
      filler: { know: () => {}, require: async () => {}, forget },
      completion: { add: () => {}, remove: () => {} },
      find: () => undefined,
      log,
    },
  );
  const dispose = async () => {
    await store.close();
    await directory[Symbol.asyncDispose]();
  };
  return { store, helper, volumes, config, forgotten, [Symbol.asyncDispose]: dispose };
}

const image = { registry: 'registry.example', repository: 'library/debian' };

describe('volumes', () => {
  test('of a snapshot that is not mounted after all nothing stays open but what others use', async () => {
    await using at = await scene();
    const { volumes, config, forgotten } = at;
    const [device = config.meta] = config.devices;
    const own = { rawDigest: digestOf('own') } as SnapshotConfig['meta'];
    const other = {
      ...config,
      meta: { ...config.meta, rawDigest: digestOf('other') },
      devices: [device, own],
    };
    await volumes.mount({ config, image });
    await volumes.abandon(other);
    expect(forgotten).toEqual([own.rawDigest]);
    await volumes.abandon(config);
    expect(forgotten).toEqual([own.rawDigest]);
    await volumes.umount(config);
    expect(forgotten).toEqual([own.rawDigest, device.rawDigest]);
    await volumes.abandon(config);
    expect(forgotten.at(-1)).toBe(device.rawDigest);
  });

  test('what is mounted is pinned, however mounting and unmounting overtake each other', async () => {
    await using at = await scene();
    const { volumes, config, helper, store } = at;
    await volumes.mount({ config, image });
    await Promise.all([
      volumes.umount(config),
      volumes.mount({ config, image }),
      volumes.umount(config),
      volumes.mount({ config, image }),
    ]);
    expect(helper.volumes.has(volumeId(config))).toBe(true);
    expect(store.holders()).toEqual([`volume:${volumeId(config)}`]);
    await Promise.all([volumes.mount({ config, image }), volumes.umount(config)]);
    expect(helper.volumes.size).toBe(0);
    expect(store.holders()).toEqual([]);
  });

  test('a mount that fails for want of a file leaves no pin', async () => {
    await using at = await scene();
    at.store.remove(digestOf('device'));
    await expect(at.volumes.mount({ config: at.config, image })).rejects.toMatchObject({ code: 'not_found' });
    expect(at.store.holders()).toEqual([]);
  });

  test('a caller who leaves while the root file system is made leaves none behind', async () => {
    await using at = await scene();
    const leaving = new AbortController();
    const starting = at.volumes.prepareStart(
      { config: at.config, image },
      {
        signal: leaving.signal,
      },
    );
    leaving.abort(new DrakkarError('cancelled', 'left'));
    await expect(starting).rejects.toMatchObject({ code: 'cancelled' });
    expect(at.helper.overlays.size).toBe(0);
  });

  test('what was mounted before a reboot can be let go of, what is mounted can not', async () => {
    await using at = await scene();
    const { volumes, config, helper, store } = at;
    let released = 0;
    const release = () =>
      volumes.whileUnmounted(config, () => {
        released += 1;
      });
    const status = await volumes.mount({ config, image });
    await expect(release()).rejects.toMatchObject({ code: 'busy' });
    helper.volumes.set(status.volume, { ...status, mounted: false, backing: null });
    await release();
    expect([released, helper.volumes.size, store.holders()]).toEqual([1, 0, []]);
  });
});
