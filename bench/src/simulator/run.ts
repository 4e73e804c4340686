import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Outcome, Scene } from './simulate.ts';

/** A scene that another thread can be given. */
export type PlainScene = Pick<
  Scene,
  | 'hosts'
  | 'pieces'
  | 'pieceBytes'
  | 'linkBytesPerSecond'
  | 'registryBytesPerSecond'
  | 'uploadSlots'
  | 'swarm'
  | 'seed'
> & {
  /** Hosts of a rack, racks of a zone, zones of a region; where hosts are all in one place, when absent. */
  readonly racks?: { readonly hosts: number; readonly racks: number; readonly zones: number };
};

/** Of 10,000 hosts: 4 GiB. */
const MOST_HEAP_MIB = 20 * 1024;

/** {@link simulate}, with as much memory as large swarms need. */
export async function runScene(scene: PlainScene): Promise<Outcome> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: scene,
    resourceLimits: { maxOldGenerationSizeMb: MOST_HEAP_MIB },
  });
  const [outcome] = await once(worker, 'message');
  return outcome as Outcome;
}
