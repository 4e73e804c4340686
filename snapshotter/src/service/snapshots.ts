import { containerd, DrakkarError, isDrakkarError } from '@drakkar/protocol';
import type { Directories, Images, Layers, Owner } from './contract.ts';
import { parseFilters } from './filter.ts';
import { idMapsOf } from './id-maps.ts';
import type { Labels, Metadata, NewSnapshot, RemoteLayer, SnapshotRow, Usage } from './metadata.ts';
import { type Mount, mountsOf } from './mounts.ts';

/** Of a layer, what is below it is called: of 2.3 on. Source: core/unpack/unpacker.go of containerd. */
const PARENT_LABEL = 'containerd.io/snapshot/parent-chain-id';

const { REF_LABEL } = containerd;

export interface SnapshotsModules {
  readonly metadata: Metadata;
  readonly layers: Layers;
  readonly images: Images;
}

/**
 * A snapshotter, as containerd knows it. Layers of images that have a block snapshot are known as soon as they are asked for, and nothing of them is
 * unpacked; others are directories, as with containerd's own.
 *
 * A record comes before its directories, which are made again whenever they are missing; so whoever is killed leaves nothing that can't be used.
 */
export class Snapshots {
  readonly #metadata: Metadata;
  readonly #layers: Layers;
  readonly #images: Images;
  /** By id, of those that are written or looked at. */
  readonly #prepared = new Map<number, { readonly mounts: Mount[]; readonly epoch: number }>();
  #numbered: Promise<void> | undefined;

  constructor({ metadata, layers, images }: SnapshotsModules) {
    this.#metadata = metadata;
    this.#layers = layers;
    this.#images = images;
  }

  /** @throws `already_exists` also where the layer that is to be unpacked need not be: it is there under the name that the labels give */
  async prepare(wanted: NewSnapshot): Promise<Mount[]> {
    const ref = wanted.labels[REF_LABEL];
    if (ref !== undefined) await this.#know(ref, wanted);
    return await this.#create('active', wanted);
  }

  async view(wanted: NewSnapshot): Promise<Mount[]> {
    return await this.#create('view', wanted);
  }

  async mounts(key: string): Promise<Mount[]> {
    const row = this.#metadata.stat(key);
    if (row.kind === 'committed')
      throw new DrakkarError('busy', `snapshot ${key} is neither active nor a view`);
    const prepared = this.#prepared.get(row.id);
    return prepared?.epoch === this.#layers.epoch
      ? prepared.mounts
      : await this.#prepareMounts(row, row.kind);
  }

  async commit(key: string, wanted: NewSnapshot): Promise<void> {
    const { id } = this.#metadata.stat(key);
    this.#metadata.commit(key, wanted, await this.#layers.usage(`${id}`));
    this.#prepared.delete(id);
  }

  async remove(key: string): Promise<void> {
    const { id, remote } = this.#metadata.remove(key);
    this.#prepared.delete(id);
    if (remote === null) await this.#layers.remove(`${id}`);
    else await this.#forgetImages();
  }

  stat(key: string): SnapshotRow {
    return this.#metadata.stat(key);
  }

  update(name: string, labels: Labels, paths: readonly string[]): SnapshotRow {
    const row = this.#metadata.update(name, labels, paths);
    this.#prepared.delete(row.id);
    return row;
  }

  list(filters: readonly string[]): SnapshotRow[] {
    return this.#metadata.list(parseFilters(filters));
  }

  async usage(key: string): Promise<Usage> {
    const { id, kind, usage } = this.#metadata.stat(key);
    return kind === 'active' ? await this.#layers.usage(`${id}`) : usage;
  }

  /** Takes away directories that belong to no snapshot, and mounts of images that are no more. What can't be taken away stays, and holds up nobody. */
  async cleanup(): Promise<void> {
    const found = await this.#layers.list();
    const known = new Set(this.#metadata.list().map(({ id }) => `${id}`));
    for (const id of found) if (!known.has(id)) await this.#layers.discard(id);
    await this.#forgetImages();
  }

  async #forgetImages(): Promise<void> {
    for (const image of this.#metadata.imagesLeft())
      if (await this.#images.forget(image)) this.#metadata.imageGone(image);
  }

  async #know(ref: string, { parent, labels }: NewSnapshot): Promise<void> {
    const below = this.#below(parent, labels);
    const remote = await this.#images.find(labels, below !== undefined && below.remote !== null);
    if (remote === undefined) return;
    this.#stand(ref, { parent, labels }, remote);
    throw new DrakkarError('already_exists', `snapshot ${ref} need not be unpacked`);
  }

  /** The layer upon which one is to be unpacked, where that is known. */
  #below(parent: string, labels: Labels): SnapshotRow | undefined {
    if (parent !== '') return this.#metadata.stat(parent);
    const name = labels[PARENT_LABEL];
    return name === undefined ? undefined : this.#metadata.find(name);
  }

  /** Another namespace may have the same layer upon a parent of its own; whoever asks finds his by label and parent, whatever it is called. */
  #stand(ref: string, { parent, labels }: Omit<NewSnapshot, 'name'>, remote: RemoteLayer): void {
    for (const name of [ref, `${ref} ${parent}`]) {
      try {
        this.#metadata.createRemote({ name, parent, labels }, remote);
        return;
      } catch (error) {
        if (!isDrakkarError(error, 'already_exists')) throw error;
        const known = this.#metadata.stat(name);
        if (known.kind === 'committed' && known.parent === parent && known.labels[REF_LABEL] === ref) return;
      }
    }
  }

  async #create(kind: 'active' | 'view', wanted: NewSnapshot): Promise<Mount[]> {
    await this.#numberAfterAll();
    const row = this.#metadata.create(kind, wanted);
    try {
      return await this.#prepareMounts(row, kind);
    } catch (error) {
      this.#metadata.discard(row);
      throw error;
    }
  }

  /** A number names directories, of which some may be left of records that were lost: those are never a new snapshot's. */
  async #numberAfterAll(): Promise<void> {
    this.#numbered ??= this.#layers.list().then(
      (found) => {
        this.#metadata.reserve(found.map(Number).filter(Number.isSafeInteger));
      },
      (error: unknown) => {
        this.#numbered = undefined;
        throw error;
      },
    );
    await this.#numbered;
  }

  async #prepareMounts(row: SnapshotRow, kind: 'active' | 'view'): Promise<Mount[]> {
    // A layer is everybody's, and its labels may be the image's.
    const maps = row.labels[REF_LABEL] === undefined ? idMapsOf(row.labels) : undefined;
    const { epoch } = this.#layers;
    const directories = await this.#directories(row, maps?.owner ?? null);
    const mounts = mountsOf(kind, directories, {
      mapping: maps?.options ?? [],
      isUponOthers: kind === 'active' && isUnpackedAlone(row),
    });
    // What was committed or removed meanwhile is nobody's to ask for.
    if (this.#metadata.find(row.name)?.id === row.id) this.#prepared.set(row.id, { mounts, epoch });
    return mounts;
  }

  /** Down to the first parent for which an image stands. */
  async #directories({ id, name }: SnapshotRow, owner: Owner | null): Promise<Directories> {
    const parents = this.#metadata.parents(name);
    const base = parents.findIndex(({ remote }) => remote !== null);
    const written = (base === -1 ? parents : parents.slice(0, base)).map((parent) => `${parent.id}`);
    const remote = parents[base]?.remote ?? null;
    return remote === null
      ? await this.#layers.prepare(`${id}`, written, owner)
      : await this.#layers.prepareUpon(`${id}`, written, remote, owner);
  }
}

/** A layer that is unpacked beside those below it, which become its parents when it is committed. */
const isUnpackedAlone = ({ parent, labels }: SnapshotRow): boolean =>
  parent === '' && labels[REF_LABEL] !== undefined && labels[PARENT_LABEL] !== undefined;
