import { once } from 'node:events';
import type { Command } from 'commander';
import type { Run } from './command.ts';

/** `drakkar daemon`: the per-host daemon, until it is told to end. */
export function daemonCommand(program: Command, run: Run): void {
  program
    .command('daemon')
    .description('run the per-host daemon (drakkar-native runs beside it, as root)')
    .action(
      run(async (context) => {
        const { startDaemon } = await import('@drakkar/daemon');
        await using daemon = await startDaemon(await context.config(), { signal: context.signal });
        context.answer(await daemon.status(), '');
        if (!context.signal.aborted) await once(context.signal, 'abort');
      }),
    );
}
