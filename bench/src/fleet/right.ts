import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { type Digest, Digester, hexOf } from '@drakkar/protocol';

/** What a daemon has stored under a digest hashes to it. @throws where it has nothing there */
export async function isRight(stateDirectory: string, digest: Digest): Promise<boolean> {
  const hex = hexOf(digest);
  const digester = new Digester();
  const file = join(stateDirectory, 'blobs', 'sha256', hex.slice(0, 2), hex);
  for await (const chunk of createReadStream(file)) digester.update(chunk as Buffer);
  return digester.digest() === digest;
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
