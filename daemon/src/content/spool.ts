import { randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, Digester, DrakkarError } from '@drakkar/protocol';
import type { Store } from '../store/index.ts';
import type { BlobStream } from '../upstream/index.ts';
import type { ReceiptCounter } from './receipt.ts';

/** Space is set aside in steps of this, since nobody knows how much will come. */
const STEP_BYTES = 4 * 1024 * 1024;

/** Takes a blob whose size nobody told: into staging first, into the store when it is whole and verified. */
export async function spool(
  stream: BlobStream,
  digest: Digest,
  store: Store,
  receipt: ReceiptCounter,
): Promise<void> {
  using reservation = store.reserve(`blob ${digest} of unknown size`);
  const path = join(store.stagingDirectory, randomUUID());
  try {
    const digester = new Digester();
    {
      await using file = await open(path, 'wx', 0o640);
      for await (const chunk of stream.chunks) {
        digester.update(chunk);
        receipt.fromUpstream(chunk.length);
        if (digester.sizeBytes > reservation.bytes) reservation.grow(Math.max(STEP_BYTES, chunk.length));
        await file.writeFile(chunk);
      }
    }
    const { sizeBytes } = digester;
    if (digester.digest() !== digest) {
      throw new DrakkarError('invalid_content', `the bytes of blob ${digest} have another digest`, {
        hint: 'the registry or something before it is broken',
      });
    }
    await store.adopt(path, digest, sizeBytes, 'blob', reservation);
  } finally {
    await rm(path, { force: true });
  }
}
