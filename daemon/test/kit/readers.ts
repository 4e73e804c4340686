import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Whether all bytes of a file are these. Each reads in a process of its own: one that waits must not keep this one from bringing what it needs. */
export type Reader = (path: string, bytes: Buffer) => Promise<boolean>;

const output = async (command: string, ...args: string[]): Promise<Buffer> => {
  const options = { encoding: 'buffer', maxBuffer: MAX_OUTPUT_BYTES } as const;
  return (await run(command, args, options)).stdout;
};

const hashOf = (algorithm: string, ...parts: (Buffer | string)[]): string => {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

const startsWith = (output: Buffer, text: string) => output.toString('latin1').startsWith(text);

/** From the start to the end. */
export const sequentially: Reader = async (path, bytes) => (await output('cat', path)).equals(bytes);

/** Parts of it, in any order, some of them more than once. */
export const randomly: Reader = async (path, bytes) => {
  const unit = 4096;
  const script = 'for at; do dd if="$0" bs=4096 count=3 skip="$at" status=none; done';
  const places = Array.from({ length: 24 }, () => Math.floor((Math.random() * bytes.length) / unit));
  const parts = places.map((at) => bytes.subarray(at * unit, (at + 3) * unit));
  return (await output('sh', '-c', script, path, ...places.map(String))).equals(Buffer.concat(parts));
};

/** By mmap(2), which is how git reads files of this size. */
export const mapped: Reader = async (path, bytes) =>
  startsWith(
    await output('git', 'hash-object', '--no-filters', path),
    hashOf('sha1', `blob ${bytes.length}\0`, bytes),
  );

/** Past the page cache. Volumes that are mounted from files can't be read so: the kernel refuses it. */
export const directly: Reader = async (path, bytes) =>
  (await output('dd', `if=${path}`, 'iflag=direct', 'bs=64k', 'status=none')).equals(bytes);

/** By a program that itself lies in the volume. */
export const byProgramOf =
  (directory: string, program: string): Reader =>
  async (path, bytes) =>
    // A shell starts it: who starts a program stands still until its first page is there.
    startsWith(
      await output('sh', '-c', '"$0" "$1"', join(directory, program), path),
      hashOf('sha256', bytes),
    );
