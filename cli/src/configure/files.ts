import { createHash } from 'node:crypto';
import { lstat, mkdir, open, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DrakkarError, errnoOf } from '@drakkar/errors';
import { z } from 'zod';
import { type Change, revertToml } from './toml-edit.ts';

const changeSchema: z.ZodType<Change> = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('line'),
    table: z.array(z.string()),
    before: z.string().nullable(),
    after: z.string(),
  }),
  z.object({ kind: z.literal('lines'), lines: z.array(z.string()) }),
]);

const recordSchema = z.object({
  version: z.literal(1),
  files: z.array(
    z.object({
      path: z.string(),
      /** As it was, in base64; `null` where there was none. */
      before: z.string().nullable(),
      /** sha256 of what was written. */
      written: z.string(),
      changes: z.array(changeSchema),
    }),
  ),
  /** That were made for files, the outermost first. */
  directories: z.array(z.string()).default([]),
});

/** Instead of a digest: somebody has changed it meanwhile. */
const CHANGED = '';

/** What was done to files, and how they were before: all that an undo needs. */
export type UndoRecord = z.output<typeof recordSchema>;
export type ChangedFile = UndoRecord['files'][number];

export interface PlannedFile {
  readonly path: string;
  readonly before: string | undefined;
  readonly after: string;
  readonly changes: readonly Change[];
}

export interface Undone {
  readonly path: string;
  /** `partly`: some of what was set has been changed since, and stays. */
  readonly outcome: 'restored' | 'removed' | 'reverted' | 'partly' | 'left';
}

/** A file's text; nothing where there is none. @throws `unsupported` for what is no regular file: it is another's to change */
export async function readConfiguration(path: string): Promise<string | undefined> {
  try {
    const stat = await lstat(path);
    if (!stat.isFile()) {
      throw new DrakkarError('unsupported', `${path} is no regular file`, {
        hint: 'name the file that it stands for with --containerd-config; nothing was changed',
      });
    }
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(path));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    if (errnoOf(error) === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
      throw new DrakkarError('invalid_content', `${path} is not in UTF-8`, {
        hint: 'nothing was changed',
        cause: error,
      });
    }
    throw error;
  }
}

/** Writes files, each whole or not at all; what they were is on the disk before the first of them is changed. */
export async function applyPlan(files: readonly PlannedFile[], recordPath: string): Promise<void> {
  const known = await readRecord(recordPath);
  const fresh = files.map(({ path, before, after, changes }) => {
    const earlier = known?.files.find((file) => file.path === path);
    const original = before === undefined ? null : Buffer.from(before).toString('base64');
    return {
      path,
      before: earlier === undefined ? original : earlier.before,
      // What somebody has changed between two of ours is theirs: it is never brought back to the byte.
      written: earlier !== undefined && sha256(before ?? '') !== earlier.written ? CHANGED : sha256(after),
      changes: [...(earlier?.changes ?? []), ...changes],
    };
  });
  const untouched = known?.files.filter((file) => fresh.every(({ path }) => path !== file.path)) ?? [];
  const directories = new Set(known?.directories);
  for (const { path } of files) for (const missing of await missingAbove(path)) directories.add(missing);
  const record: UndoRecord = {
    version: 1,
    files: [...untouched, ...fresh],
    directories: [...directories],
  };
  // There may be credentials in what it was.
  await writeWhole(recordPath, `${JSON.stringify(record, null, 2)}\n`, 0o600);
  for (const { path, after } of files) await writeWhole(path, after);
}

/** Looks at what a file would be. @throws where it must not be that */
export type Check = (path: string, text: string) => void;

/**
 * Brings files back: to the byte where nobody has changed them since, else by taking back what was set.
 *
 * @param isTrial says what would come of it, and changes nothing
 * @throws as `check` does, where what comes before it may have been changed: try it first
 */
export async function undoPlan(
  recordPath: string,
  isTrial = false,
  check: Check = () => {},
): Promise<Undone[]> {
  const record = await readRecord(recordPath);
  if (record === undefined) return [];
  const undone: Undone[] = [];
  for (const file of record.files)
    undone.push({ path: file.path, outcome: await undo(file, isTrial, check) });
  if (isTrial) return undone;
  // What others have put there stays.
  for (const directory of record.directories.toReversed()) await rmdir(directory).catch(() => undefined);
  // How it was stands there alone.
  if (undone.some(({ outcome }) => outcome === 'partly')) await rename(recordPath, `${recordPath}.undone`);
  else await rm(recordPath);
  return undone;
}

async function undo(
  { path, before, written, changes }: ChangedFile,
  isTrial: boolean,
  check: Check,
): Promise<Undone['outcome']> {
  const now = await readConfiguration(path);
  if (now === undefined) return 'left';
  if (sha256(now) === written) {
    if (before === null) {
      if (!isTrial) await rm(path);
      return 'removed';
    }
    if (!isTrial) await writeWhole(path, Buffer.from(before, 'base64'));
    return 'restored';
  }
  if (changes.length === 0) return 'left';
  const reverted = revertToml(now, changes);
  check(path, reverted.text);
  if (reverted.text === now) return reverted.changes.length === 0 ? 'left' : 'partly';
  if (!isTrial) await writeWhole(path, reverted.text);
  return reverted.changes.length === 0 ? 'reverted' : 'partly';
}

export const isThere = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/** Directories of a path that are not there, the outermost first. */
async function missingAbove(path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let directory = dirname(path); ; directory = dirname(directory)) {
    if (await isThere(directory)) return missing;
    missing.unshift(directory);
  }
}

async function readRecord(path: string): Promise<UndoRecord | undefined> {
  const text = await readConfiguration(path);
  if (text === undefined) return undefined;
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new DrakkarError('invalid_content', `${path} is damaged`, {
      hint: 'restore the files that it names from a backup of your own, then remove it',
      cause,
    });
  }
}

async function writeWhole(path: string, content: string | Buffer, modeOfNew = 0o644): Promise<void> {
  const old = await lstat(path).catch(() => undefined);
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.drakkar-new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    if (old !== undefined) await file.chown(old.uid, old.gid);
    await file.chmod(old === undefined ? modeOfNew : old.mode & 0o777);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
