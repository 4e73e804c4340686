import { createHash } from 'node:crypto';
import { DrakkarError } from '@drakkar/errors';
import type { Digest } from '@drakkar/protocol';
import type { Sink } from './transfer.ts';

/** The output of this command, from which nothing can be taken back. */
export class Stdout implements Sink {
  readonly #hash = createHash('sha256');
  bytes = 0;

  digest(): Digest {
    return `sha256:${this.#hash.copy().digest('hex')}` as Digest;
  }

  async take(bytes: Buffer): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    this.#hash.update(bytes);
    this.bytes += bytes.length;
  }

  async restart(): Promise<void> {
    if (this.bytes === 0) return;
    throw new DrakkarError('invalid_content', 'the file became another while it was written to stdout', {
      hint: 'try again, and throw away what was written',
    });
  }
}
