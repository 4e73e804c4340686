import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { firstOutput } from './first-output.ts';

/** Starts containers by runc alone, all in the same way, wherever their root file systems come from. */
export interface Runner {
  /** Runs a container with no network to its end. @returns milliseconds to its first output */
  run(id: string, rootfs: string, command: readonly string[]): Promise<number>;
}

/** Needs root. @param directory of its own, for bundles and what runc knows */
export async function startRunner(directory: string): Promise<Runner> {
  await mkdir(directory, { recursive: true });
  await promisify(execFile)('runc', ['spec', '--bundle', directory]);
  const spec = JSON.parse(await readFile(join(directory, 'config.json'), 'utf8'));
  const root = join(directory, 'runc');
  return {
    async run(id, rootfs, command) {
      const bundle = join(directory, id);
      await mkdir(bundle);
      const config = {
        ...spec,
        process: { ...spec.process, terminal: false, args: command },
        root: { path: rootfs, readonly: false },
      };
      await writeFile(join(bundle, 'config.json'), JSON.stringify(config));
      return await firstOutput(['runc', '--root', root, 'run', '--bundle', bundle, id]);
    },
  };
}
