import { setTimeout as sleep } from 'node:timers/promises';
import { parseSupernodeAddress } from '@drakkar/protocol';
import type { Log } from '../snapshots/modules.ts';
import type { Supernodes } from './supernodes.ts';

const LOOK_MS = 10_000;

/** While no supernode is there: others may have taken their place meanwhile. Goes on until it is told not to; never throws. */
export async function lookAgain(
  supernodes: Pick<Supernodes, 'isUp' | 'configure'>,
  read: () => Promise<readonly string[]>,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted || supernodes.isUp) continue;
    try {
      const addresses = (await read()).map(parseSupernodeAddress);
      if (addresses.length > 0) supernodes.configure(addresses);
    } catch (error) {
      log.warn({ error }, 'where supernodes are can’t be read again');
    }
  }
}
