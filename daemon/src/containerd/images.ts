import {
  containerd,
  type Digest,
  DrakkarError,
  formatReference,
  isDigest,
  isDrakkarError,
  parseReference,
} from '@drakkar/protocol';
import type { Images, Labels, RemoteLayer } from '@drakkar/snapshotter';
import type { Log } from '../snapshots/index.ts';
import type { FirstPulls } from './first-pulls.ts';

const { IMAGE_LABEL, MANIFEST_LABEL, REF_LABEL } = containerd;

/** An image's layers are asked for one after the other: what was found for the first holds for the others. */
const REMEMBERED_MS = 60_000;
const MAX_REMEMBERED = 256;

export interface SnapshottedImages {
  /** Whether a snapshot of the image is known here. */
  isKnown(image: string): boolean;
  /** @throws `busy` while something uses it */
  umountImage(image: string): Promise<void>;
  /** The chain ids of an image that has a snapshot. @throws `not_found` where it has none and may not be built */
  chainIds(image: string, mayBuild: boolean): Promise<readonly Digest[]>;
}

interface Remembered {
  readonly chain: Promise<readonly Digest[] | undefined>;
  /** Whether a snapshot was known here when it was asked. */
  readonly wasKnown: boolean;
  readonly untilMs: number;
}

/** Images whose layers need not be unpacked, since there is a block snapshot of them. */
export class RemoteImages implements Images {
  readonly #images: SnapshottedImages;
  readonly #firstPulls: Pick<FirstPulls, 'add'> | undefined;
  readonly #log: Log;
  readonly #remembered = new Map<string, Remembered>();

  /** @param firstPulls is told of images that are unpacked since they have no snapshot */
  constructor(images: SnapshottedImages, firstPulls: Pick<FirstPulls, 'add'> | undefined, log: Log) {
    this.#images = images;
    this.#firstPulls = firstPulls;
    this.#log = log;
  }

  async find(labels: Labels, mustFind: boolean): Promise<RemoteLayer | undefined> {
    const image = imageOf(labels);
    const ref = labels[REF_LABEL];
    if (image === undefined || ref === undefined) return undefined;
    const chain = await this.#chain(image.name, mustFind);
    const layer = (chain as readonly string[] | undefined)?.indexOf(ref) ?? -1;
    if (chain === undefined || layer === -1) return undefined;
    return { image: image.name, manifestDigest: image.digest, layer, layers: chain.length };
  }

  async forget({ image }: RemoteLayer): Promise<boolean> {
    for (const mustFind of [true, false]) this.#remembered.delete(`${mustFind} ${image}`);
    try {
      await this.#images.umountImage(image);
      return true;
    } catch (error) {
      this.#log.info({ image, error }, 'an image that containerd has removed stays mounted');
      return false;
    }
  }

  #chain(image: string, mustFind: boolean): Promise<readonly Digest[] | undefined> {
    const nowMs = performance.now();
    const key = `${mustFind} ${image}`;
    const known = this.#remembered.get(key);
    const wasKnown = this.#images.isKnown(image);
    if (known !== undefined && known.untilMs > nowMs && known.wasKnown === wasKnown) return known.chain;
    const chain = this.#ask(image, mustFind);
    this.#remembered.delete(key);
    this.#remembered.set(key, { chain, wasKnown, untilMs: nowMs + REMEMBERED_MS });
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= MAX_REMEMBERED) break;
      this.#remembered.delete(oldest);
    }
    return chain;
  }

  async #ask(image: string, mustFind: boolean): Promise<readonly Digest[] | undefined> {
    try {
      return await this.#images.chainIds(image, mustFind);
    } catch (error) {
      if (isDrakkarError(error, 'not_found')) {
        this.#firstPulls?.add(image);
        return undefined;
      }
      this.#remembered.delete(`${mustFind} ${image}`);
      this.#log.warn({ image, error }, 'an image is unpacked: its snapshot can’t be had');
      return undefined;
    }
  }
}

function imageOf(labels: Labels): { readonly name: string; readonly digest: Digest } | undefined {
  const { [IMAGE_LABEL]: text, [MANIFEST_LABEL]: digest } = labels;
  if (text === undefined || digest === undefined || !isDigest(digest)) return undefined;
  try {
    const { registry, repository } = parseReference(text);
    return { name: formatReference({ registry, repository, tag: undefined, digest }), digest };
  } catch (error) {
    if (error instanceof DrakkarError) return undefined;
    throw error;
  }
}
