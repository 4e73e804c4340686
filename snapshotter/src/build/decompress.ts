import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { splitZstdFrames } from './zstd-frames.ts';

/** Of the output buffers: large enough that few events are needed, small enough to be reused soon. */
const CHUNK_BYTES = 128 * 1024;

export type LayerCompression = 'gzip' | 'zstd' | 'none';

/** Told by the first bytes, as containerd does, whatever the media type says. */
export function compressionOf(head: Uint8Array): LayerCompression {
  const [a, b, c, d] = head;
  if (a === 0x1f && b === 0x8b) return 'gzip';
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return 'zstd';
  if (a !== undefined && a >> 4 === 5 && b === 0x2a && c === 0x4d && d === 0x18) return 'zstd';
  return 'none';
}

/**
 * The tar of a layer, inflated in libuv's thread pool. Gzip may have several members and zero padding; whatever else
 * follows is an error, as it is for containerd. Zstd may have several frames.
 *
 * @throws `invalid_content` for corrupt or truncated data; what `compressed` throws
 */
export async function* decompressLayer(
  compressed: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = compressed[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let headBytes = 0;
  while (headBytes < 4) {
    const next = await iterator.next();
    if (next.done) break;
    first.push(next.value);
    headBytes += next.value.length;
  }
  const whole = resume(first, iterator);
  const head = Buffer.concat(first).subarray(0, 4);
  switch (compressionOf(head)) {
    case 'none':
      yield* whole;
      return;
    case 'gzip':
      yield* through(whole, createGunzip({ chunkSize: CHUNK_BYTES }), 'gzip');
      return;
    case 'zstd':
      yield* through(splitZstdFrames(whole), createZstdDecompress({ chunkSize: CHUNK_BYTES }), 'zstd');
      return;
  }
}

async function* resume(
  first: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* first;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

async function* through(
  source: AsyncIterable<Uint8Array>,
  engine: Transform,
  name: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sourceFailure: { readonly error: unknown } | undefined;
  const watched = async function* () {
    try {
      yield* source;
    } catch (error) {
      sourceFailure = { error };
      throw error;
    }
  };
  const fed = pipeline(Readable.from(watched(), { objectMode: true, highWaterMark: 2 }), engine);
  // Its failure destroys the engine, so the loop below throws it.
  fed.catch(() => undefined);
  try {
    for await (const bytes of engine) yield bytes;
    await fed;
  } catch (cause) {
    if (sourceFailure !== undefined) throw sourceFailure.error;
    if (!/^(Z_|ZSTD_)/.test(errnoOf(cause) ?? '')) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DrakkarError('invalid_content', `the ${name} data is corrupt or truncated: ${reason}`, {
      cause,
    });
  }
}
