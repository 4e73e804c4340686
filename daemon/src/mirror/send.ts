import type { ServerResponse } from 'node:http';
import { DrakkarError } from '@drakkar/protocol';
import type { OpenedBlob } from '../content/index.ts';
import type { ByteRange } from './range.ts';

/** Bytes of one read and one write. Measured: see bench, `mirror`. */
const BUFFER_BYTES = 1024 * 1024;
/** Kept between requests; more are made where more bodies are sent at the same time, and dropped again. */
const POOLED_BUFFERS = 16;

const pool: Buffer[] = [];

function takeBuffer(): Buffer {
  return pool.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
}

function giveBack(buffer: Buffer): void {
  if (pool.length < POOLED_BUFFERS) pool.push(buffer);
}

/**
 * Sends a range of a blob as it arrives: the next read runs while the last write does.
 * @throws what the blob's reads throw; `timeout` when the caller takes nothing for `writeTimeoutMs`; `cancelled` when it is gone.
 *   The response is then incomplete and must be cut
 */
export async function sendRange(
  response: ServerResponse,
  blob: OpenedBlob,
  { start, end }: ByteRange,
  writeTimeoutMs: number,
): Promise<void> {
  let writing: Promise<void> = Promise.resolve();
  const buffers = [takeBuffer(), takeBuffer()] as const;
  let at = start;
  let turn = 0;
  try {
    while (at < end) {
      const buffer = buffers[turn % 2 === 0 ? 0 : 1];
      const count = await blob.read(buffer.subarray(0, Math.min(buffer.length, end - at)), at);
      if (count === 0) throw new DrakkarError('internal', `the blob ended at ${at} instead of ${end}`);
      await writing;
      writing = write(response, buffer.subarray(0, count), writeTimeoutMs);
      writing.catch(() => {});
      at += count;
      turn += 1;
    }
    await writing;
    response.end();
    for (const buffer of buffers) giveBack(buffer);
  } catch (error) {
    // The kernel or a stream may still hold the buffers: they are not given back.
    throw error instanceof Error ? error : new Error(String(error));
  }
}

/** Returns when the bytes are with the kernel. */
function write(response: ServerResponse, bytes: Buffer, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      finish(new DrakkarError('timeout', `the caller took nothing for ${timeoutMs} ms`));
    }, timeoutMs);
    const gone = () => finish(new DrakkarError('cancelled', 'the caller has left'));
    const finish = (error: Error | undefined) => {
      clearTimeout(timer);
      response.off('close', gone);
      if (error === undefined) resolve();
      else reject(error);
    };
    if (response.destroyed) {
      gone();
      return;
    }
    response.once('close', gone);
    response.write(bytes, (error) => finish(error ?? undefined));
  });
}
