import type { Labels, RemoteLayer, Usage } from './metadata.ts';

/** The directories of a snapshot that is written upon others. */
export interface Directories {
  readonly upperdir: string;
  readonly workdir: string;
  /** Of its parents, the nearest first. */
  readonly lowerdirs: readonly string[];
}

/** Ids of the host. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Where snapshots keep what was written: a directory each, which belongs to root. Ids are those of the metadata. */
export interface Layers {
  /** Changes when what was prepared may have to be prepared again. */
  readonly epoch: number;
  /**
   * Makes a snapshot's directories where they are not there yet; its root looks like that of the nearest of its parents.
   *
   * @param owner of its root, instead
   * @throws `not_found` where a parent's are not there
   */
  prepare(id: string, parents: readonly string[], owner: Owner | null): Promise<Directories>;
  /** What an image's layers come to, and what was written upon it. */
  prepareUpon(
    id: string,
    parents: readonly string[],
    image: RemoteLayer,
    owner: Owner | null,
  ): Promise<Directories>;
  remove(id: string): Promise<void>;
  /** The same for what nobody misses: never rejects. */
  discard(id: string): Promise<void>;
  usage(id: string): Promise<Usage>;
  /** All that there are. */
  list(): Promise<string[]>;
}

/** Images that need not be unpacked. */
export interface Images {
  /**
   * The layer that a snapshot of an image's layers would be, where there is a block snapshot of the image, or shall be one before it is unpacked.
   *
   * @param labels as the one who pulls has given them
   * @param mustFind since it can't be unpacked: below it there is nothing but an image's layers
   */
  find(labels: Labels, mustFind: boolean): Promise<RemoteLayer | undefined>;
  /** Containerd does not know all of the image any more. Gives whether nothing of it is in use; else it is asked again. Never rejects. */
  forget(image: RemoteLayer): Promise<boolean>;
}
