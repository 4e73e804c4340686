import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { digestOf } from '@drakkar/protocol';

const run = promisify(execFile);

/** What a reader found. */
export interface Finding {
  readonly reader: string;
  readonly file: string;
  readonly waitedMs: number;
  /** Why it could not read, in the system's words. */
  readonly error?: string;
  /** It read something else than the truth. */
  readonly isWrong: boolean;
}

export interface Truth {
  readonly name: string;
  readonly bytes: Buffer;
}

const PAGE = 4096;
const RANDOM_READS = 6;
const RANDOM_PAGES = 24;

type Reader = (root: string, truth: Truth) => Promise<{ readonly found: string; readonly expected: string }>;

/** Each reads in a process of its own: one that waits for a block must not keep whoever brings it. */
const READERS: Readonly<Record<string, Reader>> = {
  async sequential(root, { name, bytes }) {
    const { stdout } = await run('sha256sum', [join(root, name)]);
    return { found: `sha256:${stdout.slice(0, 64)}`, expected: digestOf(bytes) };
  },
  async random(root, { name, bytes }) {
    return await readPlaces(join(root, name), bytes, randomPlaces(bytes), []);
  },
  /** EROFS over files has no O_DIRECT, which the kernel says at once; over loop devices it has. */
  async direct(root, { name, bytes }) {
    try {
      return await readPlaces(join(root, name), bytes, randomPlaces(bytes), ['iflag=direct']);
    } catch (error) {
      if (!String(error).includes('Invalid argument')) throw error;
      return { found: '', expected: '' };
    }
  },
  /** The kernel maps what it runs: program and libraries come page by page. */
  async executed(root) {
    const { stdout } = await run('chroot', [root, '/bin/sh', '-c', 'echo alive']);
    return { found: stdout, expected: 'alive\n' };
  },
};

const randomPlaces = (bytes: Buffer): number[] =>
  Array.from({ length: RANDOM_READS }, () =>
    Math.floor(Math.random() * (bytes.length / PAGE - RANDOM_PAGES)),
  );

async function readPlaces(path: string, bytes: Buffer, places: readonly number[], flags: readonly string[]) {
  const found = createHash('sha256');
  const expected = createHash('sha256');
  for (const place of places) {
    const range = [`skip=${place}`, `count=${RANDOM_PAGES}`];
    const { stdout } = await run('dd', [`if=${path}`, `bs=${PAGE}`, ...range, ...flags, 'status=none'], {
      encoding: 'buffer',
    });
    found.update(stdout);
    expected.update(bytes.subarray(place * PAGE, (place + RANDOM_PAGES) * PAGE));
  }
  return { found: found.digest('hex'), expected: expected.digest('hex') };
}

/** Has all kinds of readers read all files below a root at once. */
export async function readAll(root: string, truths: readonly Truth[]): Promise<Finding[]> {
  return await Promise.all(
    truths.flatMap((truth) =>
      Object.entries(READERS).map(async ([reader, read]): Promise<Finding> => {
        const startedMs = performance.now();
        const file = truth.name;
        try {
          const { found, expected } = await read(root, truth);
          return { reader, file, waitedMs: performance.now() - startedMs, isWrong: found !== expected };
        } catch (cause) {
          const error = cause instanceof Error ? cause.message : String(cause);
          return { reader, file, waitedMs: performance.now() - startedMs, error, isWrong: false };
        }
      }),
    ),
  );
}
