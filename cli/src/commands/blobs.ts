import type { Command } from 'commander';
import { formatAge, formatBytes, formatTable } from '../output/format.ts';
import type { Run } from './command.ts';

/** `drakkar blobs`: what the store holds. */
export function blobsCommand(program: Command, run: Run): void {
  program
    .command('blobs')
    .description('list what the store holds, least recently used first')
    .action(
      run(async (context) => {
        const blobs = await (await context.client()).blobs(context.signal);
        if (context.json) {
          for (const blob of blobs) context.answer(blob, '');
          return;
        }
        const rows = blobs.map((blob) => [
          blob.digest,
          blob.kind,
          formatBytes(blob.sizeBytes),
          blob.complete
            ? 'complete'
            : `${Math.floor((100 * blob.presentBytes) / Math.max(1, blob.sizeBytes))} %`,
          formatAge(Date.now() - blob.lastUsedAtMs),
          blob.pins.length > 0 ? 'pinned' : '',
        ]);
        context.answer(blobs, formatTable(['DIGEST', 'KIND', 'SIZE', 'STATE', 'USED', ''], rows));
      }),
    );
}
