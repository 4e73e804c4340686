import type { PullResult } from '@drakkar/client';
import type { Command } from 'commander';
import { showing } from '../context.ts';
import { formatBytes, formatDuration } from '../output/format.ts';
import type { Run } from './command.ts';

/** `drakkar pull IMAGE`: an image's manifest, config and layers into the store. */
export function pullCommand(program: Command, run: Run): void {
  program
    .command('pull')
    .argument('<image>', 'image reference')
    .option('--platform <os/arch>', 'platform to choose from an index')
    .description('download an image into the store')
    .action(
      run(async (context, image: string, { platform }: { platform?: string }) => {
        const client = await context.client();
        const result = await showing<PullResult>(context, (call) => client.pull({ image, platform }, call));
        const { receipt } = result;
        context.answer(
          result,
          `${result.image}\n${result.manifestDigest}\n` +
            `${result.layers} layers, ${formatBytes(result.sizeBytes)} in ${formatDuration(result.elapsedMs)}: ` +
            `${formatBytes(receipt.upstreamBytes)} from the registry, ${formatBytes(receipt.storeBytes)} from the store`,
        );
      }),
    );
}
