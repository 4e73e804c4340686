import type { Digest } from '@drakkar/protocol';
import { expect } from 'vitest';
import { isRight } from '../../src/fleet/right.ts';

/** What a daemon has stored under these digests hashes to them. */
export async function requireRight(stateDirectory: string, digests: readonly Digest[]): Promise<void> {
  for (const digest of digests) expect(await isRight(stateDirectory, digest), digest).toBe(true);
}
