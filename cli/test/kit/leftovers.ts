import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { loopFilesBelow, mountsBelow, processesWith } from '@drakkar/lab';
import type { Host } from './drakkar.ts';

/** What should not be there when nothing is being done and nothing is mounted but what a host says itself. */
export interface Leftovers {
  /** Names in the store's staging directory. */
  readonly staging: readonly string[];
  readonly overlays: readonly string[];
  /** Mount points of the helper that no listed snapshot has. */
  readonly mounts: readonly string[];
  /** Files that loop devices are attached to although no listed snapshot is mounted. */
  readonly loops: readonly string[];
  /** Besides daemon and helper. */
  readonly processes: readonly number[];
  /** What the quota counts, less what lies in blobs/ and volumes/. */
  readonly driftBytes: number;
}

export const NOTHING_LEFT: Leftovers = {
  staging: [],
  overlays: [],
  mounts: [],
  loops: [],
  processes: [],
  driftBytes: 0,
};

export async function leftoversOf(host: Host): Promise<Leftovers> {
  const { store } = await host.client.status();
  const mounted = (await host.client.snapshots()).flatMap(({ path }) => path ?? []);
  const ours = [host.daemonPid, ...host.nativePids];
  return {
    staging: readdirSync(join(host.state, 'staging')),
    overlays: readdirSync(join(host.directory, 'native/overlays')),
    mounts: mountsBelow(join(host.directory, 'native')).filter((path) => !mounted.includes(path)),
    loops: mounted.length > 0 ? [] : loopFilesBelow(host.directory),
    processes: processesWith(host.directory).filter((pid) => !ours.includes(pid)),
    driftBytes:
      store.usedBytes - bytesBelow(join(host.state, 'blobs')) - bytesBelow(join(host.state, 'volumes')),
  };
}

/** Lengths of all files, as the quota counts them: a sparse file with all its holes. */
function bytesBelow(directory: string): number {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
