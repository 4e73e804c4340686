import type { FileHandle } from 'node:fs/promises';
import { DrakkarError, errnoOf } from '@drakkar/errors';

// See client/src/exchange.ts.
const { createServer } = process.getBuiltinModule('node:net');

/**
 * A file of which this process alone is the writer, among those that ask. The claim is an abstract socket named after the inode: the
 * kernel takes it back when the process ends, however that happens. Source: unix(7).
 *
 * @throws `busy` where another process has it
 */
export async function claim(file: FileHandle, path: string): Promise<AsyncDisposable> {
  const { dev, ino } = await file.stat({ bigint: true });
  const server = createServer((socket) => socket.destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(`\0drakkar-get-${dev}-${ino}`, resolve);
    });
  } catch (cause) {
    if (errnoOf(cause) === 'EADDRINUSE')
      throw taken(`${path} is being written by another \`drakkar get\``, cause);
    // Where such names may not be had, the second of two writers learns it at the end.
    return { async [Symbol.asyncDispose]() {} };
  }
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

export function taken(message: string, cause?: unknown): DrakkarError {
  return new DrakkarError('busy', message, {
    hint: 'wait until it has ended, or write to another file with -o FILE',
    cause,
  });
}
