import { randomBytes } from 'node:crypto';
import { DrakkarError, digestFromHex, hexOf, type SnapshotConfig } from '@drakkar/protocol';
import type { Backing, NativeHelper, VolumeStatus } from '../native.ts';
import { type Abortable, type Log, rawDigests, type Store } from './modules.ts';

/** A volume is named by its meta, which names everything else. */
export function volumeId(config: SnapshotConfig): string {
  return hexOf(config.meta.rawDigest);
}

const HOLDER_PREFIX = 'volume:';
const START_PREFIX = 'start-';

export interface PreparedRootfs {
  readonly id: string;
  readonly rootfs: string;
}

/**
 * Mounts of snapshots. What is mounted is pinned in the store; which volumes there are, the helper says, so that the
 * daemon may be killed at any moment and knows it all again when it starts.
 */
export class Volumes {
  readonly #backing: Backing;
  readonly #native: NativeHelper;
  readonly #store: Store;
  readonly #log: Log;

  constructor(options: { backing: Backing }, modules: { native: NativeHelper; store: Store; log: Log }) {
    this.#backing = options.backing;
    this.#native = modules.native;
    this.#store = modules.store;
    this.#log = modules.log;
  }

  /**
   * Takes over from an earlier daemon: pins become what is mounted, and starts whose container has ended are removed. Those
   * that still run stay as they are.
   */
  async takeOver(options: Abortable = {}): Promise<void> {
    const volumes = await this.#native.volumes(options);
    const wanted = new Map(volumes.map((volume) => [HOLDER_PREFIX + volume.volume, volume]));
    for (const holder of this.#store.holders()) {
      if (holder.startsWith(HOLDER_PREFIX) && !wanted.has(holder)) this.#store.unpin(holder);
    }
    for (const [holder, volume] of wanted) {
      for (const hex of [volume.meta, ...volume.devices]) this.#store.pin(digestFromHex(hex), holder);
      for (const overlay of volume.overlays.filter((id) => id.startsWith(START_PREFIX))) {
        await this.#native.removeOverlay(overlay, options).catch((error: unknown) => {
          this.#log.info({ start: overlay, error }, 'a container of an earlier daemon still runs');
        });
      }
    }
  }

  /** @throws `not_found` where the snapshot's files are not all here */
  async mount(config: SnapshotConfig, options: Abortable = {}): Promise<VolumeStatus> {
    const volume = volumeId(config);
    const holder = HOLDER_PREFIX + volume;
    const devices = config.devices.map(({ rawDigest }) => rawDigest);
    for (const digest of rawDigests(config)) {
      this.#store.pin(digest, holder);
      this.#store.pathOf(digest);
    }
    try {
      return await this.#native.mountVolume(
        { volume, meta: config.meta.rawDigest, devices, backing: this.#backing },
        options,
      );
    } catch (error) {
      const known = await this.#native.volumes(options).catch(() => undefined);
      if (known?.every((other) => other.volume !== volume)) this.#store.unpin(holder);
      throw error;
    }
  }

  /** @throws `busy` while something uses it */
  async umount(config: SnapshotConfig, options: Abortable = {}): Promise<void> {
    const volume = volumeId(config);
    await this.#native.umountVolume(volume, options);
    this.#store.unpin(HOLDER_PREFIX + volume);
  }

  /** A writable root file system over a mounted snapshot. */
  async prepareStart(config: SnapshotConfig, options: Abortable = {}): Promise<PreparedRootfs> {
    await this.mount(config, options);
    const id = START_PREFIX + randomBytes(8).toString('hex');
    const { rootfs } = await this.#native.prepareOverlay(
      { overlay: id, volume: volumeId(config), mount: true },
      options,
    );
    return { id, rootfs };
  }

  /** @throws `invalid_argument` for what is no start of ours; `busy` while a process uses it */
  async endStart(id: string, options: Abortable = {}): Promise<void> {
    if (!id.startsWith(START_PREFIX)) {
      throw new DrakkarError('invalid_argument', `${JSON.stringify(id.slice(0, 100))} is not a start`);
    }
    await this.#native.removeOverlay(id, options);
  }

  /** Mounted volumes by id; empty where the helper can't be asked. */
  async mounted(options: Abortable = {}): Promise<Map<string, VolumeStatus>> {
    try {
      const volumes = await this.#native.volumes(options);
      return new Map(volumes.filter(({ mounted }) => mounted).map((volume) => [volume.volume, volume]));
    } catch (error) {
      this.#log.debug({ error }, 'the helper does not say what is mounted');
      return new Map();
    }
  }

  /** Ends every start and unmounts every volume that nothing uses. Gives the ids of those that stay. */
  async unmountAll(options: Abortable = {}): Promise<string[]> {
    const busy: string[] = [];
    for (const { volume, overlays } of await this.#native.volumes(options)) {
      try {
        for (const overlay of overlays) await this.#native.removeOverlay(overlay, options);
        await this.#native.umountVolume(volume, options);
        this.#store.unpin(HOLDER_PREFIX + volume);
      } catch (error) {
        this.#log.warn({ volume, error }, 'a volume stays mounted');
        busy.push(volume);
      }
    }
    return busy;
  }
}
