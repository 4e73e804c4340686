import { isDrakkarError } from '@drakkar/protocol';
import type { Directories, Layers, Owner, RemoteLayer, Usage } from '@drakkar/snapshotter';
import type { NativeHelper } from '../native.ts';
import type { Log } from '../snapshots/index.ts';

type Quick = Pick<NativeHelper, 'connections' | 'prepareLayer'>;
type Slow = Pick<NativeHelper, 'removeLayer' | 'layerUsage' | 'layers'>;

/** The same helper by two connections, of which each answers one call after the other: nobody who starts waits for who removes a million files. */
export interface Helpers {
  readonly quick: Quick;
  readonly slow: Slow;
}

/** Of a snapshotter's own: the helper may have others. */
const PREFIX = 'snapshot-';

/** A volume that is remembered may be gone, and one that is mounted then may be unmounted at once. */
const MAX_RETRIES = 2;

const MAX_REMEMBERED = 1000;

export interface MountedImages {
  /** Another number when an image may have another volume than before. */
  readonly changes: number;
  /** Gives the volume of an image's snapshot, mounted, or of its lowest layers alone. */
  mount(image: string, layers: number | undefined): Promise<string>;
}

/** Directories that the helper makes, and volumes that it mounts. */
export class NativeLayers implements Layers {
  readonly #helper: Quick;
  readonly #slow: Slow;
  readonly #images: MountedImages;
  readonly #log: Pick<Log, 'warn'>;
  /** By image and number of layers, as they were mounted last. */
  readonly #volumes = new Map<string, { readonly volume: string; readonly changes: number }>();

  constructor({ quick, slow }: Helpers, images: MountedImages, log: Pick<Log, 'warn'>) {
    this.#helper = quick;
    this.#slow = slow;
    this.#images = images;
    this.#log = log;
  }

  get epoch(): number {
    return this.#helper.connections;
  }

  prepare(id: string, parents: readonly string[], owner: Owner | null): Promise<Directories> {
    return this.#prepare(id, parents, null, owner);
  }

  async prepareUpon(
    id: string,
    parents: readonly string[],
    { image, layer, layers }: RemoteLayer,
    owner: Owner | null,
  ): Promise<Directories> {
    const lowest = layer === layers - 1 ? undefined : layer + 1;
    const key = `${image} ${lowest}`;
    for (let attempt = 0; ; attempt += 1) {
      const { changes } = this.#images;
      const known = this.#volumes.get(key);
      const volume = known?.changes === changes ? known.volume : await this.#images.mount(image, lowest);
      try {
        const directories = await this.#prepare(id, parents, volume, owner);
        if (this.#volumes.size >= MAX_REMEMBERED) this.#volumes.clear();
        this.#volumes.set(key, { volume, changes });
        return directories;
      } catch (error) {
        // Unmounted in between.
        if (!isDrakkarError(error, 'not_found') || attempt === MAX_RETRIES) throw error;
        this.#volumes.delete(key);
      }
    }
  }

  async remove(id: string): Promise<void> {
    await this.#slow.removeLayer(PREFIX + id);
  }

  async discard(id: string): Promise<void> {
    try {
      await this.remove(id);
    } catch (error) {
      this.#log.warn({ layer: PREFIX + id, error }, 'directories that belong to no snapshot stay');
    }
  }

  async usage(id: string): Promise<Usage> {
    return await this.#slow.layerUsage(PREFIX + id);
  }

  async list(): Promise<string[]> {
    const layers = await this.#slow.layers();
    return layers.filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length));
  }

  async #prepare(
    id: string,
    parents: readonly string[],
    volume: string | null,
    owner: Owner | null,
  ): Promise<Directories> {
    const layer = PREFIX + id;
    return await this.#helper.prepareLayer({
      layer,
      parents: parents.map((parent) => PREFIX + parent),
      volume,
      owner,
    });
  }
}
