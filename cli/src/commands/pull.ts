import type { PullResult } from '@drakkar/client';
import { defineCommand } from '../command-line/command.ts';
import { PLATFORM } from '../command-line/options.ts';
import { showing } from '../context.ts';
import { formatAge, formatBytes, formatCount, formatDuration } from '../output/format.ts';
import { describeFlow, describeReceipt } from '../output/receipt.ts';

/** `drakkar pull IMAGE`: an image's manifest, config and layers into the store. */
export const commands = [
  defineCommand({
    name: 'pull',
    summary: 'download an image into the store',
    positionals: ['<image>'],
    options: { platform: PLATFORM },
    async run(context, [image], { platform }) {
      const client = await context.client();
      const result = await showing<PullResult>(context, (call) => client.pull({ image, platform }, call));
      if (result.tagAgeMs !== null) {
        context.say(`the registry is away: this is what the tag meant ${formatAge(result.tagAgeMs)} ago`);
      }
      context.answer(
        result,
        `${result.image}\n${result.manifestDigest}\n` +
          `${formatCount(result.layers, 'layer')}, ${formatBytes(result.sizeBytes)} in ${formatDuration(result.elapsedMs)}: ` +
          `${describeReceipt(result.receipt)}\n${describeFlow(result.receipt)}`,
      );
    },
  }),
];
