import { defineCommand } from '../command-line/command.ts';
import { PLATFORM } from '../command-line/options.ts';
import { ROLLOUT, rolloutOf } from '../jobs/rollout.ts';
import { begin } from './jobs.ts';

/** `drakkar preheat`: an image where it will be needed, before it is. */
export const commands = [
  defineCommand({
    name: 'preheat',
    summary: 'bring an image to hosts before they need it; a snapshot is built where there is none',
    configures: 'supernode',
    positionals: ['<image>'],
    options: {
      content: {
        value: 'what',
        choices: ['snapshot', 'start', 'layers'],
        default: 'snapshot',
        summary:
          'all of its snapshot, what its mount and a start of it need, or its layers as the registry has them',
      },
      platform: PLATFORM,
      ...ROLLOUT,
    },
    run: (context, [image], { content, platform, ...flags }) =>
      begin(
        context,
        {
          kind: 'preheat',
          image,
          content,
          ...(platform === undefined ? {} : { platform }),
          ...rolloutOf(flags),
        },
        flags.detach,
      ),
  }),
];
