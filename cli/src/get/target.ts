import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { constants, lstat, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DrakkarError, errnoOf, isDrakkarError, toDrakkarError } from '@drakkar/errors';
import type { Digest } from '@drakkar/protocol';
import { claim, taken } from './claim.ts';
import type { Sink } from './transfer.ts';

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

/**
 * @throws `invalid_argument` for what names no file; `already_exists` for what is there and no regular file; `not_found` where its
 *   directory is not there
 */
export async function requireWritable(path: string): Promise<void> {
  if (path === '') {
    throw new DrakkarError('invalid_argument', '"" is not the name of a file', {
      hint: 'say where to write it with -o FILE, or -o - for stdout',
    });
  }
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

/** What lies beside a file until it is whole: the beginning of all of it, or a range, which is none. */
export type PartSuffix = '.part' | '.range-part';

/** `PATH.part`: the beginning of a file, which gets its name when it is whole. */
export class PartFile implements Sink, AsyncDisposable {
  readonly #path: string;
  readonly #part: string;
  readonly #file: FileHandle;
  readonly #held: AsyncDisposable;
  #hash = createHash('sha256');
  #bytes = 0;

  private constructor(path: string, part: string, { file, held }: OpenPart) {
    this.#path = path;
    this.#part = part;
    this.#file = file;
    this.#held = held;
  }

  /** Goes on from what lies there, which is hashed now. @throws `busy` where another process writes it */
  static async open(path: string, suffix: PartSuffix = '.part'): Promise<PartFile> {
    const name = `${path}${suffix}`;
    const part = new PartFile(path, name, await takePart(name));
    await part.#hashAll();
    return part;
  }

  get bytes(): number {
    return this.#bytes;
  }

  digest(): Digest {
    return `sha256:${this.#hash.copy().digest('hex')}` as Digest;
  }

  async take(bytes: Buffer): Promise<void> {
    await this.#writing(() => writeAll(this.#file, bytes, this.#bytes));
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
  }

  async restart(): Promise<void> {
    await this.#writing(() => this.#file.truncate(0));
    this.#hash = createHash('sha256');
    this.#bytes = 0;
  }

  /** Durable, and under its own name. */
  async finish(): Promise<void> {
    await this.#writing(async () => {
      await this.#file.datasync();
      await requireWritable(this.#path);
      await rename(this.#part, this.#path).catch((cause) => {
        throw errnoOf(cause) === 'ENOENT'
          ? taken(`something else has taken ${this.#part} away`, cause)
          : cause;
      });
      await syncDirectory(dirname(this.#path));
    });
  }

  /** What is there is of no use. */
  async discard(): Promise<void> {
    await rm(this.#part, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held[Symbol.asyncDispose]();
  }

  async #hashAll(): Promise<void> {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#bytes);
      if (bytesRead === 0) return;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#bytes += bytesRead;
    }
  }

  async #writing(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      throw isDrakkarError(cause) ? cause : writeError(this.#part, cause);
    }
  }
}

/** `held` closes the file, and lets others have it. */
interface OpenPart {
  readonly file: FileHandle;
  readonly held: AsyncDisposable;
}

/** Between opening and claiming, who wrote it before may have finished it, or thrown it away. */
const CLAIM_TRIES = 5;

async function takePart(part: string): Promise<OpenPart> {
  for (let attempt = 1; attempt <= CLAIM_TRIES; attempt += 1) {
    await using stack = new AsyncDisposableStack();
    const file = stack.use(await openPart(part));
    stack.use(await claim(file, part));
    if (await isStill(part, file)) return { file, held: stack.move() };
  }
  throw taken(`${part} is made and taken away by others`);
}

async function isStill(path: string, file: FileHandle): Promise<boolean> {
  const [mine, there] = await Promise.all([
    file.stat({ bigint: true }),
    lstat(path, { bigint: true }).catch(() => undefined),
  ]);
  return mine.dev === there?.dev && mine.ino === there.ino;
}

async function openPart(part: string): Promise<FileHandle> {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  // A pipe must not keep us waiting for a reader.
  const file = await open(part, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK).catch((cause) => {
    const errno = errnoOf(cause) ?? '';
    if (['ELOOP', 'EISDIR', 'ENXIO'].includes(errno)) throw noFile(part);
    throw errno === 'ENOENT' ? unmakeable(part, cause) : writeError(part, cause);
  });
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw noFile(part);
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
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

function unmakeable(path: string, cause: unknown): DrakkarError {
  const why = 'its directory is gone, or is one in which no files can be made';
  return new DrakkarError('forbidden', `${path} can't be made: ${why}`, {
    hint: 'choose another place with -o FILE',
    cause,
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
