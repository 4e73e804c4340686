import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { constants, lstat, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DrakkarError, errnoOf, isDrakkarError, toDrakkarError } from '@drakkar/errors';
import type { Digest } from '@drakkar/protocol';

/** Content as the daemon gives it: the bytes from `startBytes` on. */
export interface Whole {
  readonly digest: Digest;
  readonly sizeBytes: number;
  read(startBytes: number): Promise<AsyncIterable<Buffer>>;
}

const READ_BYTES = 1024 * 1024;

/**
 * Name for a file where the caller gives none: the last segment of the URL's path.
 * @throws `invalid_argument` where that is no name of a file
 */
export function nameFromUrl(url: string): string {
  const segment = URL.canParse(url) ? (new URL(url).pathname.split('/').at(-1) ?? '') : '';
  const name = decoded(segment);
  if (name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)) return name;
  throw new DrakkarError('invalid_argument', `${JSON.stringify(url)} does not end in the name of a file`, {
    hint: 'say where to write it with -o FILE, or -o - for stdout',
  });
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** @throws `already_exists` for what is there and no regular file; `not_found` where its directory is not there */
export async function requireWritable(path: string): Promise<void> {
  const directory = dirname(path);
  const parent = await stat(directory).catch((cause) => {
    throw writeError(directory, cause);
  });
  const there = await lstat(path).catch((cause) => {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw writeError(path, cause);
  });
  if (!parent.isDirectory()) throw new DrakkarError('invalid_argument', `${directory} is no directory`);
  if (there?.isFile() === false) throw noFile(path);
}

/**
 * Writes content to `PATH.part`, goes on from what is there, and gives it its name when every byte of it has been hashed.
 * @param onBytes called with the bytes that are there so far
 */
export async function writeWhole(
  path: string,
  whole: Whole,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const part = `${path}.part`;
  await using file = await openPart(part);
  try {
    const isWhole = (await fill(file, whole, onBytes)) || (await restart(file, whole, onBytes));
    if (!isWhole) {
      throw new DrakkarError('invalid_content', `what was written to ${part} is not what was fetched`, {
        hint: 'does another command write there? Then try again',
      });
    }
    await file.truncate(whole.sizeBytes);
    await file.datasync();
    await requireWritable(path);
    await rename(part, path);
  } catch (cause) {
    throw isDrakkarError(cause) ? cause : writeError(part, cause);
  }
}

async function restart(file: FileHandle, whole: Whole, onBytes: (bytes: number) => void): Promise<boolean> {
  await file.truncate(0);
  return await fill(file, whole, onBytes);
}

/** @returns whether the file is now what the digest says */
async function fill(file: FileHandle, whole: Whole, onBytes: (bytes: number) => void): Promise<boolean> {
  const hash = createHash('sha256');
  const { size } = await file.stat();
  const here = size > whole.sizeBytes ? 0 : size;
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  let at = 0;
  while (at < here) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, here - at), at);
    if (bytesRead === 0) return false;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  onBytes(here);
  if (here < whole.sizeBytes) {
    for await (const bytes of await whole.read(here)) {
      await writeAll(file, bytes, at);
      hash.update(bytes);
      at += bytes.length;
      onBytes(at);
    }
  }
  return `sha256:${hash.digest('hex')}` === whole.digest;
}

/** Writes a part of some content, and gives it its name. */
export async function writePart(path: string, bytes: AsyncIterable<Buffer>): Promise<void> {
  const part = `${path}.part`;
  await using file = await openPart(part);
  try {
    await file.truncate(0);
    let at = 0;
    for await (const chunk of bytes) {
      await writeAll(file, chunk, at);
      at += chunk.length;
    }
    await requireWritable(path);
    await rename(part, path);
  } catch (cause) {
    throw isDrakkarError(cause) ? cause : writeError(part, cause);
  }
}

async function openPart(part: string): Promise<FileHandle> {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  // A pipe must not keep us waiting for a reader.
  const file = await open(part, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK).catch((cause) => {
    throw ['ELOOP', 'EISDIR', 'ENXIO'].includes(errnoOf(cause) ?? '')
      ? noFile(part)
      : writeError(part, cause);
  });
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw noFile(part);
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}

function noFile(path: string): DrakkarError {
  return new DrakkarError('already_exists', `${path} is there, and no regular file`, {
    hint: 'choose another name with -o FILE, or -o - for stdout',
  });
}

function writeError(path: string, cause: unknown): DrakkarError {
  const errno = errnoOf(cause);
  if (errno === 'ENOENT') return new DrakkarError('not_found', `${path} is not there`, { cause });
  if (errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS') {
    return new DrakkarError('forbidden', `${path} may not be written`, { cause });
  }
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new DrakkarError('no_space', `the disk is full: ${path} could not be written`, {
      hint: 'what is written stays, and the same command goes on from there',
      cause,
    });
  }
  return toDrakkarError(cause, 'unavailable');
}
