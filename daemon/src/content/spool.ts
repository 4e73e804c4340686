import { randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, Digester, DrakkarError } from '@drakkar/protocol';
import type { Store } from '../store/index.ts';
import type { BlobStream } from '../upstream/index.ts';
import type { ReceiptCounter } from './receipt.ts';

/** Space is set aside in steps of this, since nobody knows how much will come. */
const STEP_BYTES = 4 * 1024 * 1024;

/**
 * Takes a blob whose size nobody told: into staging first, into the store when it is whole and verified.
 *
 * @param digest absent where nobody knows it
 * @param onBytes called when some have come
 * @returns the digest of what came
 */
export async function spool(
  stream: BlobStream,
  digest: Digest | undefined,
  store: Store,
  receipt: ReceiptCounter,
  limitBytes: number,
  onBytes: () => void,
): Promise<Digest> {
  using reservation = store.reserve(
    digest === undefined ? 'a blob of unknown size' : `blob ${digest} of unknown size`,
  );
  const path = join(store.stagingDirectory, randomUUID());
  try {
    const digester = new Digester();
    {
      await using file = await open(path, 'wx', 0o640);
      for await (const chunk of stream.chunks) {
        digester.update(chunk);
        if (digester.sizeBytes > limitBytes) throw tooLarge(limitBytes);
        receipt.fromUpstream(chunk.length);
        if (digester.sizeBytes > reservation.bytes) reservation.grow(Math.max(STEP_BYTES, chunk.length));
        await file.writeFile(chunk);
        onBytes();
      }
    }
    const { sizeBytes } = digester;
    const found = digester.digest();
    if (digest !== undefined && found !== digest) {
      throw new DrakkarError('invalid_content', `the bytes of blob ${digest} have another digest: ${found}`, {
        hint: 'upstream, or something before it, is broken',
      });
    }
    await store.adopt(path, found, sizeBytes, 'blob', reservation);
    return found;
  } finally {
    await rm(path, { force: true });
  }
}

function tooLarge(limitBytes: number): DrakkarError {
  return new DrakkarError(
    'limit_exceeded',
    `what upstream sends without saying its size has more than ${limitBytes} bytes`,
    { hint: 'raise store.quotaBytes: content of unknown size may have a quarter of it' },
  );
}
