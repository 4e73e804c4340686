import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { DrakkarError } from '@drakkar/protocol';
import { forkOwn } from '../own-process.ts';
import type { FlatSource } from './flat.ts';
import type { FromExporter, ToExporter } from './messages.ts';

/** A flat image on its way. */
export interface FlatStream {
  readonly sizeBytes: number;
  /** Fails, or ends early, where the image could not be made to its end: count the bytes. */
  readonly bytes: Readable;
}

const ENTRY = fileURLToPath(new URL('./export-process.ts', import.meta.url));

/** The metadata of eight million files, as objects. */
const HEAP_MEBIBYTES = 2048;

/**
 * Makes a flat image in a process of its own: planning takes seconds and gigabytes for images of millions of files.
 *
 * @throws as {@link flatImage}; `limit_exceeded` for more files than fit in its memory; `cancelled`
 */
export function streamFlat(
  source: FlatSource,
  { signal }: { readonly signal: AbortSignal },
): Promise<FlatStream> {
  signal.throwIfAborted();
  const child = forkOwn(ENTRY, {
    execArgv: [`--max-old-space-size=${HEAP_MEBIBYTES}`],
    stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
  });
  const { stdout } = child;
  const end = () => void child.kill('SIGKILL');
  signal.addEventListener('abort', end, { once: true });
  child.once('close', () => signal.removeEventListener('abort', end));
  return new Promise((resolve, reject) => {
    let isPlanned = false;
    child.on('message', (message: FromExporter) => {
      if (message.kind === 'planned' && stdout !== null) {
        isPlanned = true;
        resolve({ sizeBytes: message.sizeBytes, bytes: stdout.once('close', end) });
      } else if (message.kind === 'failed') {
        const failure = DrakkarError.fromJSON(message.error);
        // Whoever reads the bytes hears of it there.
        if (isPlanned) stdout?.destroy(failure);
        else reject(failure);
      }
    });
    child.once('error', reject);
    child.once('exit', (code, cause) => {
      if (signal.aborted)
        reject(new DrakkarError('cancelled', 'the export was cancelled', { cause: signal.reason }));
      const how = cause ?? `exit code ${code}`;
      const tooLarge = cause === 'SIGABRT' || code === 134;
      reject(
        new DrakkarError(
          tooLarge ? 'limit_exceeded' : 'unavailable',
          `the process that makes the flat image ended with ${how}`,
          { hint: tooLarge ? 'the snapshot has more files than fit in its memory' : 'try again' },
        ),
      );
    });
    child.send({ source } satisfies ToExporter);
  });
}
