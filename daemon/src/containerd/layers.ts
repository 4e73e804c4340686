import { DrakkarError, isDrakkarError } from '@drakkar/protocol';
import type { Directories, Layers, RemoteLayer, Usage } from '@drakkar/snapshotter';
import type { NativeHelper } from '../native.ts';

type Helper = Pick<NativeHelper, 'prepareLayer' | 'removeLayer' | 'layerUsage' | 'layers'>;

/** Of a snapshotter's own: the helper may have others. */
const PREFIX = 'snapshot-';

/** Directories that the helper makes, and volumes that it mounts. */
export class NativeLayers implements Layers {
  readonly #helper: Helper;
  readonly #mountImage: (image: string) => Promise<string>;

  /** @param mountImage gives the volume of an image's snapshot, mounted */
  constructor(helper: Helper, mountImage: (image: string) => Promise<string>) {
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
    if (layer !== layers - 1) {
      throw new DrakkarError(
        'unsupported',
        `${image}: its first ${layer + 1} of ${layers} layers alone are not here`,
        {
          hint: 'pull an image that consists of them',
        },
      );
    }
    try {
      return await this.#prepare(id, parents, await this.#mountImage(image));
    } catch (error) {
      // Unmounted in between.
      if (!isDrakkarError(error, 'not_found')) throw error;
      return await this.#prepare(id, parents, await this.#mountImage(image));
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
