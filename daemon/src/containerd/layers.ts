import { isDrakkarError } from '@drakkar/protocol';
import type { Directories, Layers, RemoteLayer, Usage } from '@drakkar/snapshotter';
import type { NativeHelper } from '../native.ts';

type Helper = Pick<NativeHelper, 'prepareLayer' | 'removeLayer' | 'layerUsage' | 'layers'>;

/** Of a snapshotter's own: the helper may have others. */
const PREFIX = 'snapshot-';

/** Gives the volume of an image's snapshot, mounted, or of its lowest layers alone. */
export type MountImage = (image: string, layers: number | undefined) => Promise<string>;

/** Directories that the helper makes, and volumes that it mounts. */
export class NativeLayers implements Layers {
  readonly #helper: Helper;
  readonly #mountImage: MountImage;

  constructor(helper: Helper, mountImage: MountImage) {
    this.#helper = helper;
    this.#mountImage = mountImage;
  }

  prepare(id: string, parents: readonly string[]): Promise<Directories> {
    return this.#prepare(id, parents, null);
  }

  async prepareUpon(
    id: string,
    parents: readonly string[],
    { image, layer, layers }: RemoteLayer,
  ): Promise<Directories> {
    const lowest = layer === layers - 1 ? undefined : layer + 1;
    try {
      return await this.#prepare(id, parents, await this.#mountImage(image, lowest));
    } catch (error) {
      // Unmounted in between.
      if (!isDrakkarError(error, 'not_found')) throw error;
      return await this.#prepare(id, parents, await this.#mountImage(image, lowest));
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

  async #prepare(id: string, parents: readonly string[], volume: string | null): Promise<Directories> {
    const layer = PREFIX + id;
    return await this.#helper.prepareLayer({
      layer,
      parents: parents.map((parent) => PREFIX + parent),
      volume,
    });
  }
}
