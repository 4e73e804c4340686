import { Digester, DrakkarError } from '@drakkar/protocol';
import type { ContentWriter } from '../../store/index.ts';

const READ_BYTES = 1024 * 1024;

/** @throws `invalid_content` where the bytes that the table names are not the blob; `cancelled` */
export async function requireDigest(writer: ContentWriter, signal: AbortSignal): Promise<void> {
  const { digest, cut } = writer;
  const digester = new Digester();
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  while (digester.sizeBytes < cut.sizeBytes) {
    signal.throwIfAborted();
    const count = await writer.read(buffer, digester.sizeBytes);
    if (count === 0) throw new DrakkarError('internal', `${digest} is shorter on disk than it was`);
    digester.update(buffer.subarray(0, count));
  }
  const found = digester.digest();
  if (found === digest) return;
  throw new DrakkarError('invalid_content', `the pieces of ${digest} make another blob: ${found}`, {
    hint: 'its piece table is wrong: build the snapshot again',
    details: { digest, found },
  });
}
