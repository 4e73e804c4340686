import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ADMIN_SOCKET_NAME } from '@drakkar/client';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { isAnswered } from '@drakkar/service';
import { extract, pack } from 'tar-stream';
import { z } from 'zod';

const FORMAT = 1;
/** Without it there is no cluster. */
const CLUSTER_KEY = 'keys/cluster.pem';
const LIST = 'backup.json';
const MAX_LIST_BYTES = 1024 * 1024;
const MAX_FILES = 100;
const MAX_FILE_BYTES = 64 * 1024 ** 3;
/** What a supernode keeps: databases, and keys. */
const PATH = /^(?:[a-z]{1,40}\.sqlite|keys(?:\/[a-z]{1,40})?\/[A-Za-z0-9.-]{1,100}\.pem)$/;

const listSchema = z.strictObject({
  format: z.literal(FORMAT),
  createdAtMs: z.number(),
  files: z
    .array(
      z.strictObject({
        path: z.string().regex(PATH),
        sizeBytes: z.int().min(0).max(MAX_FILE_BYTES),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
    )
    .max(MAX_FILES),
});
type BackupList = z.output<typeof listSchema>;

/** What stands beside a state directory while another is put in its place. */
const swapSchema = z.strictObject({
  /** What is put there. */
  restored: z.string(),
  /** What was there, where it goes; `null` where nothing was. */
  aside: z.string().nullable(),
});
const MAX_SWAP_BYTES = 64 * 1024;

export interface BackedUp {
  readonly files: number;
  readonly sizeBytes: number;
  readonly createdAtMs: number;
}

/**
 * Writes all that a supernode must not forget into one file, which only its owner may read: who has it can be the cluster. The supernode may run meanwhile;
 * what it changes after this began is not in it.
 *
 * @throws `not_found` where no supernode has been; `already_exists` where the file is there
 */
export async function backUp(stateDirectory: string, output: string): Promise<BackedUp> {
  const found = await filesOf(stateDirectory);
  if (!found.includes(CLUSTER_KEY)) {
    throw new DrakkarError('not_found', `there is no supernode's state in ${stateDirectory}`, {
      hint: 'name the supernode’s file with --config',
    });
  }
  if (await isThere(output)) throw new DrakkarError('already_exists', `${output} is already there`);
  await using staging = await directoryBeside(output);
  const databases = found.filter(isDatabase);
  for (const path of databases) copyDatabase(join(stateDirectory, path), join(staging.path, path));
  // Keys are only added, and before a database names them: those that there are now are all that the copies name.
  const keys = (await filesOf(stateDirectory)).filter((path) => !isDatabase(path));
  for (const path of keys) {
    await mkdir(dirname(join(staging.path, path)), { recursive: true });
    await copy(join(stateDirectory, path), join(staging.path, path));
  }
  const paths = [...databases, ...keys].sort();
  const files = await Promise.all(paths.map((path) => described(staging.path, path)));
  const list: BackupList = { format: FORMAT, createdAtMs: Date.now(), files };
  const whole = join(staging.path, 'whole.tar');
  await writeTar(whole, list, staging.path);
  await rename(whole, output);
  await syncDirectory(dirname(resolve(output)));
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return { files: files.length, sizeBytes, createdAtMs: list.createdAtMs };
}

/**
 * Puts what was backed up in the place of a supernode's state. All of it is there, and is what it was, or nothing has happened; where it was ended half way,
 * no supernode begins there ({@link requireRestored}) until it is called again. Who had the directory has what is restored.
 *
 * @param replace what is there goes aside, to a directory whose name is returned
 * @throws `busy` while a supernode has the directory; `already_exists` where something is there; `invalid_content` for what is no backup
 */
export async function restore(
  input: string,
  place: string,
  replace: boolean,
): Promise<BackedUp & { readonly aside: string | null }> {
  const stateDirectory = resolve(place);
  if (await isAnswered(join(stateDirectory, ADMIN_SOCKET_NAME))) {
    throw new DrakkarError('busy', `a supernode has ${stateDirectory}`, { hint: 'stop it first' });
  }
  await undoSwap(stateDirectory);
  const isTaken = await hasSomething(stateDirectory);
  if (isTaken && !replace) {
    throw new DrakkarError('already_exists', `something is in ${stateDirectory}`, {
      hint: 'with --replace it is put aside',
    });
  }
  await using staging = await directoryBeside(stateDirectory);
  const restored = join(staging.path, 'state');
  const { files, createdAtMs } = await readTar(input, restored);
  await giveTo(restored, await ownerOf(stateDirectory));
  await syncDirectories(restored);
  const aside = isTaken ? `${stateDirectory}.before-${Date.now()}` : null;
  try {
    await swap(stateDirectory, { restored, aside });
  } catch (error) {
    await undoSwap(stateDirectory);
    throw error;
  }
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return { files: files.length, sizeBytes, createdAtMs, aside };
}

/** @throws `unavailable` where a restore was ended half way: a supernode that began there would be another one */
export async function requireRestored(stateDirectory: string): Promise<void> {
  const path = swapPath(resolve(stateDirectory));
  if (!(await isThere(path))) return;
  const begun = await readSwap(path);
  const hasMoved = begun !== undefined && (begun.aside === null || (await isThere(begun.aside)));
  if (hasMoved && (await isThere(join(stateDirectory, CLUSTER_KEY)))) return;
  throw new DrakkarError('unavailable', `${stateDirectory} was not restored to the end`, {
    hint: `run \`drakkar supernode restore\` again, then start the supernode; ${path} says what is where`,
  });
}

type Swap = z.output<typeof swapSchema>;

const swapPath = (stateDirectory: string): string => `${stateDirectory}.restoring`;

/** At no moment is the directory missing without the file beside it that says so. */
async function swap(stateDirectory: string, { restored, aside }: Swap): Promise<void> {
  const parent = dirname(stateDirectory);
  {
    // Whoever the supernode runs as must see it.
    await using file = await open(swapPath(stateDirectory), 'wx', 0o644);
    await file.writeFile(JSON.stringify({ restored, aside } satisfies Swap));
    await file.sync();
  }
  await syncDirectory(parent);
  if (aside !== null) await rename(stateDirectory, aside);
  else await rm(stateDirectory, { recursive: true, force: true });
  await syncDirectory(parent);
  await rename(restored, stateDirectory);
  await syncDirectory(parent);
  await endSwap(stateDirectory);
}

/** Puts back what a restore has put aside that was ended half way; what it had put in its place already stays. */
async function undoSwap(stateDirectory: string): Promise<void> {
  const path = swapPath(stateDirectory);
  if (!(await isThere(path))) return;
  const begun = await readSwap(path);
  if (begun !== undefined) {
    const { restored, aside } = begun;
    const isOurs = aside?.startsWith(`${stateDirectory}.before-`) === true;
    if (isOurs && !(await hasSomething(stateDirectory)) && (await isThere(aside))) {
      // Somebody may have made an empty one meanwhile.
      await rm(stateDirectory, { recursive: true, force: true });
      await rename(aside, stateDirectory);
      await syncDirectory(dirname(stateDirectory));
    }
    const staging = dirname(restored);
    if (staging.startsWith(`${stateDirectory}.staging-`) && dirname(staging) === dirname(stateDirectory))
      await rm(staging, { recursive: true, force: true });
  }
  await endSwap(stateDirectory);
}

async function endSwap(stateDirectory: string): Promise<void> {
  await rm(swapPath(stateDirectory), { force: true });
  await syncDirectory(dirname(stateDirectory));
}

/** @returns nothing for one that is cut off: it was being written when the crash came, and nothing had been moved */
async function readSwap(path: string): Promise<Swap | undefined> {
  const { size } = await stat(path);
  if (size > MAX_SWAP_BYTES) return undefined;
  try {
    return swapSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Whose files they are to be: where root restores them, the supernode may run as somebody else. */
async function ownerOf(directory: string): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  return await stat(directory).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
}

async function giveTo(directory: string, owner: Owner | undefined): Promise<void> {
  if (owner === undefined) return;
  for (const path of await readdir(directory, { recursive: true }))
    await chown(join(directory, path), owner.uid, owner.gid);
  await chown(directory, owner.uid, owner.gid);
}

async function syncDirectories(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) await syncDirectory(join(entry.parentPath, entry.name));
  await syncDirectory(directory);
}

/** What was renamed in it is so after a power cut, too. */
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

const isDatabase = (path: string): boolean => path.endsWith('.sqlite');

async function filesOf(stateDirectory: string): Promise<string[]> {
  const entries = await readdir(stateDirectory, { recursive: true }).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  return entries.filter((path) => PATH.test(path)).sort();
}

/** As it was at one moment, also while somebody writes. */
function copyDatabase(from: string, to: string): void {
  using database = new DatabaseSync(from, { readOnly: true });
  database.prepare('VACUUM INTO ?').run(to);
}

async function copy(from: string, to: string): Promise<void> {
  await pipeline(createReadStream(from), createWriteStream(to, { mode: 0o600 }));
}

async function described(directory: string, path: string): Promise<BackupList['files'][number]> {
  const { size } = await stat(join(directory, path));
  const hash = createHash('sha256');
  await pipeline(createReadStream(join(directory, path)), hash);
  return { path, sizeBytes: size, sha256: hash.digest('hex') };
}

async function writeTar(output: string, list: BackupList, directory: string): Promise<void> {
  const tar = pack();
  const writing = pipeline(tar, createWriteStream(output, { mode: 0o600, flags: 'wx' }));
  tar.entry({ name: LIST }, JSON.stringify(list));
  for (const { path, sizeBytes } of list.files)
    await pipeline(
      createReadStream(join(directory, path)),
      tar.entry({ name: path, size: sizeBytes, mode: 0o600 }),
    );
  tar.finalize();
  await writing;
  await using file = await open(output);
  await file.sync();
}

async function readTar(input: string, directory: string): Promise<BackupList> {
  const tar = extract();
  const reading = pipeline(createReadStream(input), tar);
  reading.catch(() => {});
  let list: BackupList | undefined;
  const missing = new Map<string, BackupList['files'][number]>();
  try {
    for await (const entry of tar) {
      const { name, size = 0 } = entry.header;
      if (list === undefined) {
        list = await readList(name, size, Readable.from(entry));
        for (const file of list.files) missing.set(file.path, file);
        continue;
      }
      const file = missing.get(name);
      if (file === undefined || file.sizeBytes !== size) throw damaged(`it has ${JSON.stringify(name)}`);
      missing.delete(name);
      await writeChecked(
        Readable.from(entry, { objectMode: false }),
        join(directory, file.path),
        file.sha256,
      );
    }
    await reading;
  } catch (cause) {
    if (cause instanceof DrakkarError) throw cause;
    if (errnoOf(cause) === 'ENOENT') throw new DrakkarError('not_found', `there is no ${input}`, { cause });
    throw damaged(cause instanceof Error ? cause.message : String(cause));
  }
  const [left] = missing.keys();
  if (list === undefined || left !== undefined) throw damaged(`it lacks ${left ?? LIST}`);
  return list;
}

async function readList(name: string, size: number, bytes: Readable): Promise<BackupList> {
  if (name !== LIST || size > MAX_LIST_BYTES) throw damaged(`it does not begin with ${LIST}`);
  const parts: Buffer[] = [];
  for await (const part of bytes) parts.push(part as Buffer);
  const { format } = z
    .looseObject({ format: z.int() })
    .parse(JSON.parse(Buffer.concat(parts).toString('utf8')));
  if (format > FORMAT) throw new DrakkarError('unsupported', 'a later version has made this backup');
  return listSchema.parse(JSON.parse(Buffer.concat(parts).toString('utf8')));
}

async function writeChecked(bytes: Readable, path: string, sha256: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const hash = createHash('sha256');
  bytes.on('data', (part: Buffer) => hash.update(part));
  await pipeline(bytes, createWriteStream(path, { mode: 0o600, flags: 'wx' }));
  if (hash.digest('hex') !== sha256) throw damaged(`${path} is not what it was`);
  await using file = await open(path);
  await file.sync();
}

function damaged(why: string): DrakkarError {
  return new DrakkarError('invalid_content', `this is no backup of a supernode, or it is damaged: ${why}`);
}

async function directoryBeside(path: string): Promise<AsyncDisposable & { readonly path: string }> {
  await mkdir(dirname(path), { recursive: true });
  const made = await mkdtemp(`${path}.staging-`);
  await chmod(made, 0o700);
  return { path: made, [Symbol.asyncDispose]: () => rm(made, { recursive: true, force: true }) };
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
const hasSomething = (directory: string): Promise<boolean> =>
  readdir(directory).then(
    (names) => names.length > 0,
    () => false,
  );
