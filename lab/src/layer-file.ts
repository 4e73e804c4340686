import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { type Digest, Digester } from '@drakkar/protocol';

/** A layer that lies in a file, compressed by gzip. */
export interface DebianLayer {
  readonly path: string;
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly sizeBytes: number;
}

/** Packs members of a directory. */
export function tarGzip(root: string, members: readonly string[], path: string): Promise<void> {
  const command =
    'root=$1; out=$2; shift 2; tar -C "$root" --sort=name --xattrs --numeric-owner -cf - "$@" | gzip -n -6 > "$out"';
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', command, 'sh', root, path, ...members], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`tar ended with ${code}`))));
  });
}

export async function describeLayer(path: string): Promise<DebianLayer> {
  const compressed = new Digester();
  const raw = new Digester();
  const source = createReadStream(path);
  source.on('data', (bytes) => compressed.update(bytes as Buffer));
  await pipeline(source, createGunzip(), async (bytes: AsyncIterable<Buffer>) => {
    for await (const part of bytes) raw.update(part);
  });
  return { path, digest: compressed.digest(), diffId: raw.digest(), sizeBytes: compressed.sizeBytes };
}
