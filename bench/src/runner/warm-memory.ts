import { mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';

const PART_BYTES = 4 * 1024 ** 2;

/**
 * A virtual machine may give memory that it has free back to its host, and pays for each page that it then takes
 * anew. A machine that has run for a while has some at hand: it is had by writing a file of so many bytes and removing it.
 */
export async function warmMemory(bytes: number): Promise<void> {
  const directory = await mkdtemp('/var/tmp/drakkar-warm-');
  try {
    await using file = await open(join(directory, 'file'), 'w');
    const part = Buffer.alloc(PART_BYTES);
    for (let written = 0; written < bytes; written += part.length) await file.write(part);
  } finally {
    await rm(directory, { recursive: true });
  }
}
