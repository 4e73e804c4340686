import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { digestOf } from '@drakkar/protocol';
import { keptDirectory } from './cache.ts';

const run = promisify(execFile);

/** What containerd's own packages are made into here. */
const MODULE = join(import.meta.dirname, '../containerd');
const PROGRAM = 'program';
const OUTPUT_BYTES = 16 * 1024 * 1024;
/** On two cores the first takes two minutes, most of which goes to what is imported. */
const MOST_MS = 20 * 60_000;

/** Containerd's own tests of a snapshotter, which take its socket from `DRAKKAR_SNAPSHOTTER`. @returns the program, as {@link build} */
export const buildContainerdSuite = (): Promise<string> => build('suite/suite_test.go', ['test', '-c']);

/** Containerd's own overlayfs snapshotter, which is given a socket to answer at, and a directory. @returns the program, as {@link build} */
export const buildOverlayfsSnapshotter = (): Promise<string> => build('overlayfs/main.go', ['build']);

/** What each call of the snapshotter at a socket takes: it is given the socket, a parent, and how often. @returns the program, as {@link build} */
export const buildSnapshotterCalls = (): Promise<string> => build('calls/main.go', ['build']);

/** Minutes the first time, then taken from the cache until it changes. @throws where Go is not installed, or can't reach its module proxy */
async function build(source: string, how: readonly string[]): Promise<string> {
  const contents = await Promise.all(
    ['go.mod', 'go.sum', source].map((file) => readFile(join(MODULE, file))),
  );
  const key = digestOf(Buffer.concat(contents)).slice(7, 23);
  const directory = await keptDirectory(`go-${dirname(source)}-${key}`, async (making) => {
    await run('go', [...how, '-o', join(making, PROGRAM), `./${dirname(source)}`], {
      cwd: MODULE,
      env: { ...process.env, CGO_ENABLED: '0' },
      maxBuffer: OUTPUT_BYTES,
      timeout: MOST_MS,
    });
  });
  return join(directory, PROGRAM);
}
