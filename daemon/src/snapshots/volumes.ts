import { randomBytes } from 'node:crypto';
import {
  type Digest,
  DrakkarError,
  digestFromHex,
  errnoOf,
  hexOf,
  type SnapshotConfig,
} from '@drakkar/protocol';
import type { Completion, Filler } from '../fill/index.ts';
import type { Backend, Backing, NativeHelper, VolumeDevice, VolumeStatus } from '../native.ts';
import { Turns } from '../turns.ts';
import type { RepositoryName } from '../upstream/index.ts';
import { type Abortable, type Extent, type Log, rawDigests, type Store } from './modules.ts';

/** A volume is named by its meta, which names everything else. */
export function volumeId(config: SnapshotConfig): string {
  return hexOf(config.meta.rawDigest);
}

const HOLDER_PREFIX = 'volume:';
const START_PREFIX = 'start-';

/** What is to be mounted: a snapshot, and where those of its blocks are had that are not here. */
export interface Mountable {
  readonly config: SnapshotConfig;
  readonly image: RepositoryName;
}

export interface VolumesOptions {
  readonly backend: Backend;
  readonly backing: Backing;
}

export interface VolumesModules {
  readonly native: NativeHelper;
  readonly store: Store;
  readonly filler: Pick<Filler, 'know' | 'require' | 'forget'>;
  readonly completion: Pick<Completion, 'add' | 'remove'>;
  /** The snapshot of a volume that an earlier daemon has mounted. */
  readonly find: (volume: string) => SnapshotConfig | undefined;
  readonly log: Log;
}

export interface MountOptions extends Abortable {
  /** The volume was not mounted, and is from now on. */
  readonly onMounted?: (status: VolumeStatus) => void;
}

export interface StartOptions extends MountOptions {
  /** The process that will run the container. */
  readonly ownerPid?: number | undefined;
}

export interface PreparedRootfs {
  readonly id: string;
  readonly rootfs: string;
}

/**
 * Mounts of snapshots. What is mounted is pinned in the store; which volumes there are, the helper says, so that the
 * daemon may be killed at any moment and knows it all again when it starts.
 */
export class Volumes {
  readonly #options: VolumesOptions;
  readonly #native: NativeHelper;
  readonly #store: Store;
  readonly #filler: VolumesModules['filler'];
  readonly #completion: VolumesModules['completion'];
  readonly #find: VolumesModules['find'];
  readonly #log: Log;
  /** By volume: a pin belongs to a mount, so nothing may mount while somebody unmounts and unpins. */
  readonly #turns = new Turns<string>();
  /** Whether the helper has been asked what an earlier daemon left: it may come up after us. */
  #takenOver: Promise<void> | undefined;
  /** Processes that will end their starts themselves, unless they are killed. */
  readonly #owners = new Map<string, number>();
  #extent: Promise<Extent> | undefined;
  /** Starts that failed while the helper was away: removed as soon as it is spoken to again. */
  readonly #givenUp = new Set<string>();

  constructor(options: VolumesOptions, modules: VolumesModules) {
    this.#options = options;
    this.#native = modules.native;
    this.#store = modules.store;
    this.#filler = modules.filler;
    this.#completion = modules.completion;
    this.#find = modules.find;
    this.#log = modules.log;
  }

  /**
   * Takes over from an earlier daemon: pins become what is mounted, and starts whose container has ended are removed. Those
   * that still run stay as they are.
   */
  takeOver(options: Abortable = {}): Promise<void> {
    this.#takenOver ??= this.#takeOver(options).catch((error: unknown) => {
      this.#takenOver = undefined;
      throw error;
    });
    return this.#takenOver;
  }

  async #takeOver(options: Abortable): Promise<void> {
    const volumes = await this.#native.volumes(options);
    const wanted = new Map(volumes.map((volume) => [HOLDER_PREFIX + volume.volume, volume]));
    for (const holder of this.#store.holders()) {
      if (holder.startsWith(HOLDER_PREFIX) && !wanted.has(holder)) this.#store.unpin(holder);
    }
    for (const [holder, volume] of wanted) {
      for (const hex of [volume.meta, ...volume.devices]) this.#store.pin(digestFromHex(hex), holder);
      const config = volume.filling.length > 0 ? this.#find(volume.volume) : undefined;
      if (config !== undefined) this.#completion.add(config);
      for (const overlay of volume.overlays.filter((id) => id.startsWith(START_PREFIX))) {
        await this.#native.removeOverlay(overlay, options).catch((error: unknown) => {
          this.#log.info({ start: overlay, error }, 'a container of an earlier daemon still runs');
        });
      }
    }
  }

  /**
   * Mounts a snapshot. Devices that are not here are filled as they are read, where the backend can.
   *
   * @throws `not_found` where what must be here is not: the meta, and everything where nothing can be filled
   */
  mount(mountable: Mountable, options: MountOptions = {}): Promise<VolumeStatus> {
    return this.#turns.run(volumeId(mountable.config), () => this.#mountAndTell(mountable, options));
  }

  /** What of a snapshot must be here before it is mounted. */
  async extent(options: Abortable = {}): Promise<Extent> {
    const { backend } = this.#options;
    if (backend !== 'auto') return backend === 'local' ? 'whole' : 'meta';
    this.#extent ??= this.#native.probe(options).then(
      ({ backends }) => (backends.some((backend) => backend !== 'local') ? 'meta' : 'whole'),
      (error: unknown) => {
        this.#extent = undefined;
        throw error;
      },
    );
    return await this.#extent;
  }

  /**
   * Lets the kernel read alone what of a volume is complete. Gives how it is from then on.
   *
   * @throws `invalid_content` where a device is wrong, which is then filled anew
   */
  retire(config: SnapshotConfig, options: Abortable = {}): Promise<VolumeStatus> {
    return this.#turns.run(volumeId(config), async () => {
      const status = await this.#native.retireVolume(volumeId(config), options);
      const filling = new Set(status.filling.map(({ device }) => device));
      for (const { rawDigest } of config.devices) {
        if (!filling.has(hexOf(rawDigest))) this.#store.volumeFilled(rawDigest);
      }
      return status;
    });
  }

  /** @throws `busy` while something uses it */
  umount(config: SnapshotConfig, options: Abortable = {}): Promise<void> {
    return this.#turns.run(volumeId(config), () => this.#umount(volumeId(config), options));
  }

  /** A writable root file system over a mounted snapshot, for as long as its owner's process lives. */
  prepareStart(mountable: Mountable, options: StartOptions = {}): Promise<PreparedRootfs> {
    const volume = volumeId(mountable.config);
    const { ownerPid } = options;
    return this.#turns.run(volume, async () => {
      await this.#mountAndTell(mountable, options);
      const prepared = await this.#prepareOverlay(volume, options);
      if (ownerPid !== undefined) this.#owners.set(prepared.id, ownerPid);
      return prepared;
    });
  }

  /** It is not going to be mounted now: what was opened for it and is not used otherwise is let go of. Never rejects. */
  async abandon(config: SnapshotConfig): Promise<void> {
    const volume = volumeId(config);
    await this.#turns
      .run(volume, async () => {
        if (this.#store.holders().includes(HOLDER_PREFIX + volume)) return;
        const mounted = (await this.#native.volumes()).filter((other) => other.mounted);
        const used = new Set(mounted.flatMap(({ devices }) => devices));
        const free = config.devices.map(({ rawDigest }) => rawDigest);
        await this.#filler.forget(free.filter((device) => !used.has(hexOf(device))));
      })
      .catch((error: unknown) => this.#log.debug({ volume, error }, 'devices stay open'));
  }

  /**
   * Does something with a snapshot's files while nobody can mount it.
   *
   * @throws `busy` while it is mounted; `unavailable` where it may be and the helper can't be asked
   */
  whileUnmounted(config: SnapshotConfig, task: () => void, options: Abortable = {}): Promise<void> {
    const volume = volumeId(config);
    return this.#turns.run(volume, async () => {
      if (this.#store.holders().includes(HOLDER_PREFIX + volume)) {
        const known = (await this.#native.volumes(options)).find((other) => other.volume === volume);
        if (known?.mounted === true) {
          throw new DrakkarError('busy', 'the snapshot is mounted', {
            hint: 'end the containers that use it, then `drakkar snapshot umount` it',
          });
        }
        // What was mounted before a reboot is still meant to be.
        await this.#umount(volume, options);
      }
      task();
    });
  }

  /** @throws `invalid_argument` for what is no start of ours; `busy` while a process uses it */
  async endStart(id: string, options: Abortable = {}): Promise<void> {
    if (!id.startsWith(START_PREFIX)) {
      throw new DrakkarError('invalid_argument', `${JSON.stringify(id.slice(0, 100))} is not a start`);
    }
    await this.#native.removeOverlay(id, options);
    this.#owners.delete(id);
  }

  /** Mounted volumes by id; empty where the helper can't be asked. */
  async mounted(options: Abortable = {}): Promise<Map<string, VolumeStatus>> {
    try {
      await this.#removeGivenUp();
      const volumes = await this.#native.volumes(options);
      return new Map(volumes.filter(({ mounted }) => mounted).map((volume) => [volume.volume, volume]));
    } catch (error) {
      this.#log.debug({ error }, 'the helper does not say what is mounted');
      return new Map();
    }
  }

  /** Starts that have not ended, by id. */
  async starts(options: Abortable = {}): Promise<string[]> {
    const volumes = await this.#native.volumes(options);
    return volumes.flatMap(({ overlays }) => overlays).filter((id) => id.startsWith(START_PREFIX));
  }

  /** Ends every start and unmounts every volume that nothing uses. Gives the ids of those that stay. */
  async unmountAll(options: Abortable = {}): Promise<string[]> {
    const busy: string[] = [];
    for (const { volume, overlays } of await this.#native.volumes(options)) {
      try {
        for (const overlay of overlays) await this.#native.removeOverlay(overlay, options);
        await this.#turns.run(volume, () => this.#umount(volume, options));
      } catch (error) {
        this.#log.warn({ volume, error }, 'a volume stays mounted');
        busy.push(volume);
      }
    }
    return busy;
  }

  async #mountAndTell(mountable: Mountable, options: MountOptions): Promise<VolumeStatus> {
    const wasMounted = this.#store.holders().includes(HOLDER_PREFIX + volumeId(mountable.config));
    const status = await this.#mount(mountable, options);
    if (!wasMounted) options.onMounted?.(status);
    return status;
  }

  async #mount(mountable: Mountable, options: Abortable): Promise<VolumeStatus> {
    const { config } = mountable;
    const volume = volumeId(config);
    await this.#removeGivenUp();
    try {
      for (const digest of rawDigests(config)) this.#store.pin(digest, HOLDER_PREFIX + volume);
      await this.#store.verify(rawDigests(config));
      this.#store.pathOf(config.meta.rawDigest);
      const devices = this.#devices(mountable, HOLDER_PREFIX + volume);
      await this.#filler.require(devices.filter(({ complete }) => !complete).map(({ digest }) => digest));
      const status = await this.#native.mountVolume(
        {
          volume,
          meta: config.meta.rawDigest,
          devices,
          blockBytes: config.blockBytes,
          ...this.#options,
        },
        options,
      );
      if (status.filling.length > 0) this.#completion.add(config);
      return status;
    } catch (error) {
      // Also where the caller has left: the helper may have mounted it all the same.
      const known = await this.#native.volumes().catch(() => undefined);
      if (known?.every((other) => other.volume !== volume)) this.#store.unpin(HOLDER_PREFIX + volume);
      throw error;
    }
  }

  /** Before they are mounted those that are not here are made, and it is known where their blocks are had. */
  #devices({ config, image }: Mountable, holder: string): VolumeDevice[] {
    const devices = config.devices.map(({ rawDigest: digest, rawSizeBytes: sizeBytes }) => ({
      digest,
      sizeBytes,
      complete: this.#store.has(digest, 'volume'),
    }));
    const missing = devices.filter(({ complete }) => !complete);
    if (this.#options.backend === 'local') for (const { digest } of missing) this.#store.pathOf(digest);
    if (missing.length > 0) this.#filler.know(image, config);
    for (const { digest, sizeBytes } of missing) this.#store.prepareVolume(digest, sizeBytes, holder);
    return devices;
  }

  async #umount(volume: string, options: Abortable): Promise<void> {
    for (const [id, pid] of this.#owners) if (!isAlive(pid)) this.#giveUp(id);
    await this.#removeGivenUp();
    const before = await this.#native.volumes(options);
    await this.#native.umountVolume(volume, options);
    this.#store.unpin(HOLDER_PREFIX + volume);
    this.#completion.remove(digestFromHex(volume));
    await this.#filler.forget(devicesOfOne(before, volume));
  }

  async #prepareOverlay(volume: string, options: Abortable): Promise<PreparedRootfs> {
    const id = START_PREFIX + randomBytes(8).toString('hex');
    try {
      const { rootfs } = await this.#native.prepareOverlay({ overlay: id, volume, mount: true }, options);
      options.signal?.throwIfAborted();
      return { id, rootfs };
    } catch (error) {
      // A caller who has left knows no id, and the helper may have made it all the same.
      this.#giveUp(id);
      await this.#removeGivenUp();
      throw error;
    }
  }

  #giveUp(id: string): void {
    this.#owners.delete(id);
    this.#givenUp.add(id);
  }

  async #removeGivenUp(): Promise<void> {
    await this.takeOver();
    for (const id of this.#givenUp) {
      try {
        await this.#native.removeOverlay(id);
        this.#givenUp.delete(id);
      } catch (error) {
        this.#log.warn({ start: id, error }, 'a root file system that nobody uses stays for now');
      }
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}

/** Devices that this volume uses, and no other that is mounted. */
function devicesOfOne(volumes: readonly VolumeStatus[], one: string): Digest[] {
  const others = volumes.filter(({ volume, mounted }) => mounted && volume !== one);
  const used = new Set(others.flatMap(({ devices }) => devices));
  const own = volumes.find(({ volume }) => volume === one)?.devices ?? [];
  return own.filter((device) => !used.has(device)).map(digestFromHex);
}
