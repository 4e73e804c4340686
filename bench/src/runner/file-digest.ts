import { createReadStream } from 'node:fs';
import { type Digest, Digester } from '@drakkar/protocol';

/** What all of a file hashes to, and how long it is. */
export async function digestOfFile(
  path: string,
): Promise<{ readonly digest: Digest; readonly sizeBytes: number }> {
  const digester = new Digester();
  for await (const part of createReadStream(path)) digester.update(part as Buffer);
  return { digest: digester.digest(), sizeBytes: digester.sizeBytes };
}
