import { type Digest, isDrakkarError } from '@drakkar/protocol';
import type { Store } from './contract.ts';

/** What somebody reads, writes or keeps at this moment stays, and goes when the space is needed. @returns whether it is gone */
export function removeUnlessUsed(store: Pick<Store, 'remove'>, digest: Digest): boolean {
  try {
    store.remove(digest);
    return true;
  } catch (error) {
    if (!isDrakkarError(error, 'busy')) throw error;
    return false;
  }
}
