import { join } from 'node:path';
import { type Digest, hexOf } from '@drakkar/protocol';
import { digestOfFile } from '../runner/file-digest.ts';

/** What a daemon has stored under a digest hashes to it. @throws where it has nothing there */
export async function isRight(stateDirectory: string, digest: Digest): Promise<boolean> {
  const hex = hexOf(digest);
  const file = join(stateDirectory, 'blobs', 'sha256', hex.slice(0, 2), hex);
  return (await digestOfFile(file)).digest === digest;
}

/** @throws where something is missing, or wrong */
export async function requireAllRight(
  hosts: readonly { readonly stateDirectory: string }[],
  digests: readonly Digest[],
): Promise<void> {
  for (const { stateDirectory } of hosts)
    for (const digest of digests)
      if (!(await isRight(stateDirectory, digest)))
        throw new Error(`what ${stateDirectory} has of ${digest} is something else`);
}
