import { isDrakkarError } from '@drakkar/protocol';
import type { Directories, Layers, Owner, RemoteLayer, Usage } from '@drakkar/snapshotter';
import type { NativeHelper } from '../native.ts';

type Helper = Pick<NativeHelper, 'workerPid' | 'prepareLayer' | 'removeLayer' | 'layerUsage' | 'layers'>;

/** Of a snapshotter's own: the helper may have others. */
const PREFIX = 'snapshot-';

/** A volume that is remembered may be gone, and one that is mounted then may be unmounted at once. */
const MAX_RETRIES = 2;

const MAX_REMEMBERED = 1000;

/** Gives the volume of an image's snapshot, mounted, or of its lowest layers alone. */
export type MountImage = (image: string, layers: number | undefined) => Promise<string>;

/** Directories that the helper makes, and volumes that it mounts. */
export class NativeLayers implements Layers {
  readonly #helper: Helper;
  readonly #mountImage: MountImage;
  /** By image and number of layers, as they were mounted last. */
  readonly #volumes = new Map<string, string>();

  constructor(helper: Helper, mountImage: MountImage) {
    this.#helper = helper;
    this.#mountImage = mountImage;
  }

  get epoch(): number | null {
    return this.#helper.workerPid;
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
      const volume = this.#volumes.get(key) ?? (await this.#mountImage(image, lowest));
      try {
        const directories = await this.#prepare(id, parents, volume, owner);
        if (this.#volumes.size >= MAX_REMEMBERED) this.#volumes.clear();
        this.#volumes.set(key, volume);
        return directories;
      } catch (error) {
        // Unmounted in between.
        if (!isDrakkarError(error, 'not_found') || attempt === MAX_RETRIES) throw error;
        this.#volumes.delete(key);
      }
    }
  }

  async remove(id: string): Promise<void> {
    await this.#helper.removeLayer(PREFIX + id);
  }

  async usage(id: string): Promise<Usage> {
    return await this.#helper.layerUsage(PREFIX + id);
  }

  async list(): Promise<string[]> {
    const layers = await this.#helper.layers();
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
