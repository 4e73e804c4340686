import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { type Digest, Digester, hexOf } from '@drakkar/protocol';
import { expect } from 'vitest';

/** What a daemon has stored under these digests hashes to them. */
export async function requireRight(stateDirectory: string, digests: readonly Digest[]): Promise<void> {
  for (const digest of digests) {
    const hex = hexOf(digest);
    const digester = new Digester();
    const file = join(stateDirectory, 'blobs', 'sha256', hex.slice(0, 2), hex);
    for await (const chunk of createReadStream(file)) digester.update(chunk as Buffer);
    expect(digester.digest()).toBe(digest);
  }
}
