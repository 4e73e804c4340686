import { once } from 'node:events';
import { DrakkarError } from '@drakkar/errors';
import { defineCommand } from '../command-line/command.ts';
import type { Context } from '../context.ts';
import { formatBytes } from '../output/format.ts';
import { runDemo } from '../up/demo.ts';
import { startMachine } from '../up/up.ts';

/** `drakkar up`: all parts on this machine, until Ctrl-C. */
export const commands = [
  defineCommand({
    name: 'up',
    summary: 'run helper and daemon on this machine',
    positionals: ['[image]'],
    servesSocket: true,
    options: {
      demo: {
        summary:
          'show on a real image what Drakkar does, beside containerd; [image] instead of one made here',
      },
      once: { summary: 'with --demo: end when it has been shown' },
    },
    async run(context, [image], { demo, once }) {
      if (process.getuid?.() !== 0) {
        throw new DrakkarError('forbidden', 'this mounts file systems, so it must run as root', {
          hint: 'use sudo, or run drakkar-native as root and `drakkar daemon` as any user',
        });
      }
      if (demo) return await runDemo(context, { image, once });
      if (image !== undefined || once) {
        throw new DrakkarError('invalid_argument', 'an image and --once go with --demo');
      }
      return await up(context);
    },
  }),
];

async function up(context: Context): Promise<void> {
  await using machine = await startMachine(await context.config(), context.signal, context.say, (words) =>
    context.say(words.trimEnd()),
  );
  const status = await machine.daemon.status();
  context.answer(
    status,
    [
      `mirror   ${status.mirrorUrl}`,
      `admin    ${machine.socket}`,
      `state    ${status.stateDirectory} (${formatBytes(status.store.usedBytes)} of ${formatBytes(status.store.quotaBytes)})`,
      'try      drakkar run IMAGE -- COMMAND',
      'Ctrl-C ends it.',
    ].join('\n'),
  );
  if (!context.signal.aborted) await once(context.signal, 'abort');
}
