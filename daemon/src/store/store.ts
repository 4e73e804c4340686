import { hash, randomUUID } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type Digest,
  DrakkarError,
  decodePieceTable,
  digestOf,
  fixedCut,
  isCutByTable,
  isDrakkarError,
  type PieceTable,
  pieceCountOfTable,
  tableCut,
  toDrakkarError,
} from '@drakkar/protocol';
import { makeDirectory } from '@drakkar/service';
import type {
  ContentReader,
  ContentRemoved,
  OpenContentOptions,
  Store,
  StoredContent,
  StoreUsage,
  WriterWanted,
} from './contract.ts';
import { FileReader, OpenFiles } from './files.ts';
import { fillFrom } from './fill.ts';
import { type ContentRow, IndexFile, type PieceRow, type TagRow } from './index-file.ts';
import { type ContentKind, type Layout, layoutOf } from './layout.ts';
import { STORE_DEFAULTS, type StoreOptions } from './options.ts';
import { Quota, type Reservation } from './quota.ts';
import { repair } from './repair.ts';
import { Verifier } from './verifier.ts';
import { type ContentWriter, FileWriter, type WriterHome } from './writer.ts';

/**
 * @throws `busy` when another daemon has the directory; `forbidden` when it cannot be written; `no_space`
 */
export async function openStore(
  options: Partial<StoreOptions> & { readonly directory: string },
): Promise<Store> {
  const complete = { ...STORE_DEFAULTS, ...options };
  const layout = layoutOf(complete.directory);
  try {
    await makePrivate(layout.directory);
    for (const path of [layout.blobs, layout.volumes, layout.staging]) {
      mkdirSync(path, { recursive: true });
      accessSync(path, constants.W_OK);
    }
    const index = new IndexFile(layout.index);
    try {
      rmSync(layout.staging, { recursive: true, force: true });
      mkdirSync(layout.staging);
      const clean = index.wasStoppedCleanly();
      if (!clean) index.markAllUnverified();
      repair(layout, index, !clean);
      index.markClean(false);
      index.relaxDurability(true);
      return new DirectoryStore(complete, layout, index);
    } catch (error) {
      index[Symbol.dispose]();
      throw error;
    }
  } catch (cause) {
    const error = toDrakkarError(cause, 'unavailable');
    throw new DrakkarError(error.code, `the state directory ${complete.directory}: ${error.message}`, {
      hint: error.hint,
      cause,
    });
  }
}

/** Unit of `st_blocks`. Source: stat(2). */
const STAT_BLOCK_BYTES = 512;

/** Content that is being made. */
interface Claim {
  readonly ended: PromiseWithResolvers<void>;
  /** A whole file is taken in, which takes no longer than its sync. */
  readonly adopts: boolean;
  /** `undefined` while its file is being opened. */
  writer: FileWriter | undefined;
}

class DirectoryStore implements Store, WriterHome {
  readonly stagingDirectory: string;
  readonly verified: Promise<void>;
  readonly #options: StoreOptions;
  readonly #layout: Layout;
  readonly #index: IndexFile;
  readonly #quota: Quota;
  readonly #files: OpenFiles;
  readonly #verifier: Verifier;
  /** Content that is being made: taken before the first await, so that there is never a second writer. */
  readonly #claims = new Map<Digest, Claim>();
  readonly #closing = new AbortController();
  readonly #removed: ((content: ContentRemoved) => void)[] = [];
  #lastUseMs: number;
  #closed: Promise<void> | undefined;

  constructor(options: StoreOptions, layout: Layout, index: IndexFile) {
    this.#options = options;
    this.#layout = layout;
    this.#index = index;
    this.stagingDirectory = layout.staging;
    this.#files = new OpenFiles(options.maxOpenFiles);
    this.#quota = new Quota(options.quotaBytes, index.totalBytes(), (bytes) => this.#evict(bytes));
    this.#lastUseMs = index.lastUseMs();
    this.#trim();
    this.#verifier = new Verifier(index, layout, (row) => this.#delete(row), this.#closing.signal);
    this.verified = this.#verifier.verifyAll((digest) => this.#claims.has(digest));
  }

  usage(): StoreUsage {
    const { limitBytes: quotaBytes, contentBytes, reservedBytes } = this.#quota;
    return { quotaBytes, contentBytes, reservedBytes };
  }

  list(): StoredContent[] {
    return this.#index.list().map((row) => this.#describe(row));
  }

  stat(digest: Digest): StoredContent | undefined {
    const row = this.#index.find(digest);
    return row === undefined ? undefined : this.#describe(row);
  }

  has(digest: Digest, kind?: ContentKind): boolean {
    const row = this.#usable(digest);
    return row !== undefined && (kind ?? row.kind) === row.kind;
  }

  async verify(digests: Iterable<Digest>): Promise<void> {
    for (const digest of digests) {
      const row = this.#index.find(digest);
      if (row?.verified !== false) continue;
      // What can't be read is tried again, and its error thrown, when it is used.
      await this.#verifier.verify(row).catch(() => {});
    }
  }

  pathOf(digest: Digest): string {
    const row = this.#usable(digest);
    if (row === undefined) throw notHere(digest);
    this.touch(digest);
    return this.#layout.file(row.kind, digest);
  }

  async open(digest: Digest, { yields = false }: OpenContentOptions = {}): Promise<ContentReader> {
    const found = this.#index.find(digest);
    if (found?.complete !== true) throw notHere(digest);
    if (!found.verified) await this.#verifier.verify(found);
    const row = this.#index.find(digest);
    if (row?.complete !== true || !row.verified) throw notHere(digest);
    this.touch(digest);
    const handle = await this.#files.open(digest, this.#layout.file(row.kind, digest), yields);
    return new FileReader(row, handle, () => this.#files.close(digest, yields));
  }

  async pieceHashes(digest: Digest): Promise<ReadonlyMap<number, Uint8Array>> {
    await using reader = await this.open(digest);
    const cut = fixedCut(reader.sizeBytes);
    if (this.#index.find(digest)?.piecesTable !== null) this.#index.forgetPieces(digest);
    const known = hashesOf(this.#index.pieces(digest));
    const buffer = Buffer.allocUnsafe(known.size < cut.pieceCount ? cut.longestPieceBytes : 0);
    const made: PieceRow[] = [];
    for (let piece = 0; piece < cut.pieceCount; piece += 1) {
      if (known.has(piece)) continue;
      const [start, end] = [cut.start(piece), cut.end(piece)];
      const count = await reader.read(buffer.subarray(0, end - start), start);
      const sha256 = hash('sha256', buffer.subarray(0, count), 'buffer');
      made.push({ piece, start, end, sha256 });
      known.set(piece, sha256);
    }
    if (made.length > 0) this.recordPieces(digest, made);
    return known;
  }

  async pieceTable(digest: Digest): Promise<PieceTable> {
    await using reader = await this.open(digest);
    if (pieceCountOfTable(reader.sizeBytes) === undefined) {
      throw new DrakkarError('invalid_content', `${digest} is no piece table`);
    }
    const bytes = Buffer.allocUnsafe(reader.sizeBytes);
    await reader.read(bytes, 0);
    return decodePieceTable(bytes);
  }

  setTable(digest: Digest, table: Digest): void {
    this.#index.setTable(digest, table);
  }

  onRemoved(removed: (content: ContentRemoved) => void): void {
    this.#removed.push(removed);
  }

  async writer(wanted: WriterWanted): Promise<ContentWriter> {
    const { digest, sizeBytes, origin, table } = wanted;
    while (this.#claims.get(digest)?.adopts) await this.#claims.get(digest)?.ended.promise;
    if (this.#claims.has(digest)) throw new DrakkarError('busy', `${digest} is being written already`);
    const claim = this.#claim(digest, false);
    try {
      const cut = table === undefined ? fixedCut(sizeBytes) : tableCut(table.table);
      const found = this.#index.find(digest);
      if (found !== undefined && !found.verified) await this.#verifier.verify(found);
      const row = this.#index.find(digest);
      if (row?.complete === true)
        throw new DrakkarError('already_exists', `${digest} is in the store already`);
      const resumes = row !== undefined && this.#resumes(row, wanted);
      if (row !== undefined && !resumes) this.#delete(row);
      const path = this.#layout.file('blob', digest);
      const file = resumes ? await open(path, 'r+') : await this.#create(wanted);
      this.#index.addOrigin(digest, origin);
      const presentHashes = hashesOf(this.#index.pieces(digest));
      const writer = new FileWriter({ digest, cut, path, presentHashes }, file, this);
      claim.writer = writer;
      this.touch(digest);
      return writer;
    } catch (error) {
      this.#unclaim(digest);
      throw toDrakkarError(error, 'unavailable');
    }
  }

  async put(bytes: Uint8Array, mediaType: string, origin?: string): Promise<Digest> {
    const digest = digestOf(bytes);
    if (!this.has(digest)) await this.#put(bytes, digest, mediaType);
    if (origin !== undefined) this.addOrigin(digest, origin);
    return digest;
  }

  addOrigin(digest: Digest, registry: string): void {
    this.#index.addOrigin(digest, registry);
  }

  reserve(purpose: string, bytes = 0): Reservation {
    return this.#quota.reserve(purpose, bytes);
  }

  async adopt(
    path: string,
    digest: Digest,
    sizeBytes: number,
    kind: ContentKind,
    reservation: Reservation,
    holder?: string,
    mediaType?: string,
  ): Promise<void> {
    // Two images with a layer in common bring the same device; a mirror and a pull the same manifest.
    for (let claim = this.#claims.get(digest); claim !== undefined; claim = this.#claims.get(digest)) {
      const { writer } = claim;
      if (writer !== undefined && isCutByTable(writer.cut)) {
        // Whoever fills it as it is needed may have it open for long.
        await fillFrom(path, writer);
        rmSync(path);
        reservation.shrink(sizeBytes);
        if (holder !== undefined) this.pin(digest, holder);
        return;
      }
      await claim.ended.promise;
    }
    this.#claim(digest, true);
    try {
      await makeDurable(path, sizeBytes);
      await this.verify([digest]);
      const existing = this.#usable(digest);
      if (existing !== undefined) {
        if (existing.kind === 'blob' && kind === 'volume') this.#turnIntoVolume(digest);
        rmSync(path);
        reservation.shrink(sizeBytes);
        if (holder !== undefined) this.pin(digest, holder);
        return;
      }
      const partial = this.#index.find(digest);
      if (partial !== undefined) this.#delete(partial);
      if (reservation.bytes < sizeBytes) reservation.grow(sizeBytes - reservation.bytes);
      const target = this.#layout.file(kind, digest);
      mkdirSync(dirname(target), { recursive: true });
      renameSync(path, target);
      syncDirectory(dirname(target));
      try {
        this.#insert(
          { digest, kind, sizeBytes, mediaType: mediaType ?? null, complete: true, table: null },
          holder,
          reservation,
        );
      } catch (error) {
        rmSync(target, { force: true });
        throw error;
      }
    } catch (error) {
      throw toDrakkarError(error, 'unavailable');
    } finally {
      this.#unclaim(digest);
    }
  }

  prepareVolume(digest: Digest, sizeBytes: number, holder: string): void {
    try {
      this.#prepareVolume(digest, sizeBytes);
      this.pin(digest, holder);
      this.touch(digest);
    } catch (error) {
      throw toDrakkarError(error, 'unavailable');
    }
  }

  #prepareVolume(digest: Digest, sizeBytes: number): void {
    const row = this.#index.find(digest);
    if (row?.kind === 'volume' && (row.sizeBytes === sizeBytes || row.complete)) return;
    if (row !== undefined) this.remove(digest);
    using reservation = this.reserve(`volume ${digest}`, sizeBytes);
    const path = this.#layout.file('volume', digest);
    try {
      closeSync(openSync(path, 'wx', 0o640));
      truncateSync(path, sizeBytes);
      this.#insert(
        { digest, kind: 'volume', sizeBytes, mediaType: null, complete: false, table: null },
        undefined,
        reservation,
      );
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
  }

  volumeFilled(digest: Digest): void {
    this.#index.setState(digest, { complete: true, verified: true });
  }

  touch(digest: Digest): void {
    this.#index.touch(digest, this.#nextUseMs());
  }

  pin(digest: Digest, holder: string): void {
    this.#index.pin(digest, holder);
  }

  unpin(holder: string): void {
    this.#index.unpin(holder);
  }

  holders(): string[] {
    return this.#index.holders();
  }

  remove(digest: Digest): void {
    const row = this.#index.find(digest);
    if (row === undefined) return;
    const [holder] = this.#index.holders(digest);
    if (holder !== undefined || this.#inUse(digest)) {
      throw new DrakkarError(
        'busy',
        `${digest} is ${holder === undefined ? 'being read or written' : `kept by ${holder}`}`,
        {
          hint: 'unmount what uses it first',
          details: { digest, holder },
        },
      );
    }
    this.#delete(row);
  }

  findTag(registry: string, repository: string, tag: string): TagRow | undefined {
    return this.#index.findTag(registry, repository, tag);
  }

  putTag(registry: string, repository: string, tag: string, row: TagRow): void {
    this.#index.putTag(registry, repository, tag, row);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  recordPieces(digest: Digest, pieces: readonly PieceRow[]): void {
    this.#index.transaction(() => {
      for (const row of pieces) this.#index.addPiece(digest, row);
    });
  }

  completed(digest: Digest): void {
    this.#index.setState(digest, { complete: true, verified: true });
  }

  async renamed(from: Digest, to: Digest): Promise<boolean> {
    while (this.#claims.has(to)) await this.#claims.get(to)?.ended.promise;
    this.#claim(to, true);
    try {
      await this.verify([to]);
      if (this.#usable(to) !== undefined) return false;
      const partial = this.#index.find(to);
      if (partial !== undefined) this.#delete(partial);
      const target = this.#layout.file('blob', to);
      mkdirSync(dirname(target), { recursive: true });
      // A crash before the row follows loses the bytes, and nothing else.
      renameSync(this.#layout.file('blob', from), target);
      syncDirectory(dirname(target));
      this.#index.transaction(() => this.#index.rename(from, to));
      return true;
    } finally {
      this.#unclaim(to);
    }
  }

  released(digest: Digest, remove: boolean): void {
    this.#unclaim(digest);
    const row = remove ? this.#index.find(digest) : undefined;
    if (row !== undefined) this.#delete(row);
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    await this.verified;
    using index = this.#index;
    const writers = [...this.#claims.values()].flatMap(({ writer }) => writer ?? []);
    const stopped = await Promise.allSettled(writers.map((writer) => writer.close()));
    const unverified = index.list().some(({ verified }) => !verified);
    if (stopped.some(({ status }) => status === 'rejected') || unverified) return;
    try {
      index.relaxDurability(false);
      index.markClean(true);
    } catch (error) {
      // Where the disk is full the mark stays as after a crash: the next start verifies.
      if (!isDrakkarError(error, 'no_space')) throw error;
    }
  }

  async #put(bytes: Uint8Array, digest: Digest, mediaType: string): Promise<void> {
    using reservation = this.reserve(`blob ${digest}`, bytes.length);
    const path = join(this.#layout.staging, randomUUID());
    try {
      await writeFile(path, bytes);
      await this.adopt(path, digest, bytes.length, 'blob', reservation, undefined, mediaType);
    } catch (error) {
      rmSync(path, { force: true });
      throw toDrakkarError(error, 'unavailable');
    }
  }

  /** Whether what an earlier writer left is a part of what is wanted. */
  #resumes(row: ContentRow, { sizeBytes, origin, table }: WriterWanted): boolean {
    const isPart = row.kind === 'blob' && row.sizeBytes === sizeBytes;
    if (!isPart || row.piecesTable !== (table?.digest ?? null)) return false;
    return this.#index.origins(row.digest).every((registry) => registry === origin);
  }

  /** The file before the row: a file without a row is removed at the next start, with all its bytes. */
  async #create({ digest, sizeBytes, mediaType, table: named }: WriterWanted): Promise<FileHandle> {
    using reservation = this.reserve(`blob ${digest}`, sizeBytes);
    const path = this.#layout.file('blob', digest);
    mkdirSync(dirname(path), { recursive: true });
    const file = await open(path, 'w+', 0o640);
    try {
      await file.truncate(sizeBytes);
      const table = named?.digest ?? null;
      const content = {
        digest,
        kind: 'blob' as const,
        sizeBytes,
        mediaType: mediaType ?? null,
        complete: false,
        table,
      };
      this.#insert(content, undefined, reservation);
      return file;
    } catch (error) {
      await file.close();
      rmSync(path, { force: true });
      throw error;
    }
  }

  #insert(
    content: Pick<ContentRow, 'digest' | 'kind' | 'sizeBytes' | 'mediaType' | 'complete' | 'table'>,
    holder: string | undefined,
    reservation: Reservation,
  ): void {
    this.#index.transaction(() => {
      const piecesTable = content.table;
      this.#index.insert({ ...content, piecesTable, verified: true, lastUseMs: this.#nextUseMs() });
      if (holder !== undefined) this.#index.pin(content.digest, holder);
    });
    reservation.shrink(content.sizeBytes);
    this.#quota.added(content.sizeBytes);
  }

  /** The same bytes under another name; whoever reads them has them open. A crash in between loses them, and nothing else. */
  #turnIntoVolume(digest: Digest): void {
    const target = this.#layout.file('volume', digest);
    renameSync(this.#layout.file('blob', digest), target);
    syncDirectory(dirname(target));
    this.#index.setKind(digest, 'volume');
  }

  /** The file before the row: a row without a file is removed at the next start. */
  #delete(row: ContentRow): void {
    const { digest, table } = row;
    const origins = row.complete ? this.#index.origins(digest) : [];
    rmSync(this.#layout.file(row.kind, digest), { force: true });
    this.#index.delete(digest);
    if (row.complete) for (const removed of this.#removed) removed({ digest, origins, table });
    this.#quota.removed(row.sizeBytes);
  }

  #claim(digest: Digest, adopts: boolean): Claim {
    const claim = { ended: Promise.withResolvers<void>(), adopts, writer: undefined };
    this.#claims.set(digest, claim);
    return claim;
  }

  #unclaim(digest: Digest): void {
    this.#claims.get(digest)?.ended.resolve();
    this.#claims.delete(digest);
  }

  #inUse(digest: Digest): boolean {
    return this.#claims.has(digest) || this.#files.isHeld(digest);
  }

  #evict(neededBytes: number): boolean {
    const { victims, bytes } = this.#victims(neededBytes);
    if (bytes < neededBytes) return false;
    for (const victim of victims) this.#delete(victim);
    return true;
  }

  /** A quota that has become smaller holds for what is here already, as far as nobody keeps it. */
  #trim(): void {
    const excessBytes = this.#quota.contentBytes - this.#quota.limitBytes;
    if (excessBytes > 0) for (const victim of this.#victims(excessBytes).victims) this.#delete(victim);
  }

  /** What makes so much room, or all that there is: the least recently used first, and what yielding readers have open last. */
  #victims(neededBytes: number): { readonly victims: ContentRow[]; readonly bytes: number } {
    const victims: ContentRow[] = [];
    const yielded: ContentRow[] = [];
    let bytes = 0;
    const take = (row: ContentRow) => {
      victims.push(row);
      bytes += row.sizeBytes;
    };
    for (const row of this.#index.unpinned()) {
      if (bytes >= neededBytes) break;
      if (this.#inUse(row.digest)) continue;
      if (this.#files.isOpen(row.digest)) yielded.push(row);
      else take(row);
    }
    for (const row of yielded) if (bytes < neededBytes) take(row);
    return { victims, bytes };
  }

  #usable(digest: Digest): ContentRow | undefined {
    const row = this.#index.find(digest);
    return row?.complete === true && this.#verifier.verifyNow(row) ? row : undefined;
  }

  #describe(row: ContentRow): StoredContent {
    const { piecesTable: _, verified: __, ...content } = row;
    return {
      ...content,
      presentBytes: this.#presentBytes(row),
      holders: this.#index.holders(row.digest),
      origins: this.#index.origins(row.digest),
    };
  }

  #presentBytes({ complete, kind, digest, sizeBytes }: ContentRow): number {
    if (complete) return sizeBytes;
    if (kind === 'blob') return this.#index.piecesBytes(digest);
    // The helper fills it: what is there takes room.
    const { blocks = 0 } = statSync(this.#layout.file(kind, digest), { throwIfNoEntry: false }) ?? {};
    return Math.min(sizeBytes, blocks * STAT_BLOCK_BYTES);
  }

  /** Never twice the same, so that "least recently used" always has one answer. */
  #nextUseMs(): number {
    this.#lastUseMs = Math.max(this.#options.now(), this.#lastUseMs + 1);
    return this.#lastUseMs;
  }
}

const hashesOf = (pieces: readonly PieceRow[]): Map<number, Buffer> =>
  new Map(pieces.map(({ piece, sha256 }) => [piece, sha256]));

async function makeDurable(path: string, sizeBytes: number): Promise<void> {
  await using file = await open(path, 'r+');
  const { size } = await file.stat();
  if (size !== sizeBytes) {
    throw new DrakkarError(
      'invalid_content',
      `${path} has ${size} bytes, not the ${sizeBytes} that were said`,
    );
  }
  await file.sync();
}

/** What registries gave to this user alone is for nobody else of this machine to read. */
async function makePrivate(directory: string): Promise<void> {
  await makeDirectory(directory, 0o700);
  const { uid, mode } = statSync(directory);
  if (uid === process.getuid?.() && (mode & 0o077) !== 0) chmodSync(directory, 0o700);
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function notHere(digest: Digest): DrakkarError {
  return new DrakkarError('not_found', `${digest} is not complete in the store`, { details: { digest } });
}
