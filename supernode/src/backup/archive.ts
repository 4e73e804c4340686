import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { extract, pack } from 'tar-stream';
import { z } from 'zod';

const FORMAT = 1;
const LIST = 'backup.json';
const MAX_LIST_BYTES = 1024 * 1024;
const MAX_FILES = 100;
const MAX_FILE_BYTES = 64 * 1024 ** 3;
/** What a supernode keeps: databases, and keys. */
export const PATH = /^(?:[a-z]{1,40}\.sqlite|keys(?:\/[a-z]{1,40})?\/[A-Za-z0-9.-]{1,100}\.pem)$/;

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
export type BackupList = z.output<typeof listSchema>;

async function described(directory: string, path: string): Promise<BackupList['files'][number]> {
  const { size } = await stat(join(directory, path));
  const hash = createHash('sha256');
  await pipeline(createReadStream(join(directory, path)), hash);
  return { path, sizeBytes: size, sha256: hash.digest('hex') };
}

/** Writes files of a directory into one that is not there yet. @returns what it says is in it */
export async function writeArchive(
  output: string,
  directory: string,
  paths: readonly string[],
): Promise<BackupList> {
  const files = await Promise.all(paths.map((path) => described(directory, path)));
  const list: BackupList = { format: FORMAT, createdAtMs: Date.now(), files };
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
  return list;
}

/**
 * Reads what {@link writeArchive} has written into a directory.
 *
 * @throws `not_found` where it is not there; `invalid_content` for what is no backup, or is not what it was; `unsupported` for a later version's
 */
export async function readArchive(input: string, directory: string): Promise<BackupList> {
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
