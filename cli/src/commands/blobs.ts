import { defineCommand } from '../command-line/command.ts';
import { formatAge, formatBytes, formatTable } from '../output/format.ts';

/** `drakkar blobs`: what the store holds. */
export const commands = [
  defineCommand({
    name: 'blobs',
    summary: 'list what the store holds, least recently used first',
    positionals: [],
    options: {},
    async run(context) {
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
        blob.from ?? '',
      ]);
      context.answer(blobs, formatTable(['DIGEST', 'KIND', 'SIZE', 'STATE', 'USED', '', 'FROM'], rows));
    },
  }),
];
