import { once } from 'node:events';
import { DrakkarError } from '@drakkar/errors';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { formatBytes } from '../output/format.ts';
import { runDemo } from '../up/demo.ts';
import { startMachine } from '../up/up.ts';
import type { Run } from './command.ts';

interface Flags {
  readonly demo?: boolean;
  readonly once?: boolean;
}

/** `drakkar up`: all parts on this machine, until Ctrl-C. */
export function upCommand(program: Command, run: Run): void {
  program
    .command('up')
    .argument('[image]', 'with --demo: the image to show, instead of one made here')
    .option('--demo', 'show on a real image what Drakkar does, beside containerd')
    .option('--once', 'with --demo: end when it has been shown')
    .description('run helper and daemon on this machine')
    .action(
      run(async (context, image: string | undefined, flags: Flags) => {
        if (process.getuid?.() !== 0) {
          throw new DrakkarError('forbidden', 'this mounts file systems, so it must run as root', {
            hint: 'use sudo, or run drakkar-native as root and `drakkar daemon` as any user',
          });
        }
        if (flags.demo) return runDemo(context, { image, once: flags.once === true });
        if (image !== undefined || flags.once) {
          throw new DrakkarError('invalid_argument', 'an image and --once go with --demo');
        }
        return up(context);
      }),
    );
}

async function up(context: Context): Promise<void> {
  await using machine = await startMachine(await context.config(), context.signal);
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
