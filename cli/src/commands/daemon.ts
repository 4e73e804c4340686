import { once } from 'node:events';
import { defineCommand } from '../command-line/command.ts';

/** `drakkar daemon`: the per-host daemon, until it is told to end. */
export const commands = [
  defineCommand({
    name: 'daemon',
    summary: 'run the per-host daemon (drakkar-native runs beside it, as root)',
    positionals: [],
    servesSocket: true,
    options: {},
    async run(context) {
      const { startDaemon } = await import('@drakkar/daemon');
      await using daemon = await startDaemon(await context.config(), { signal: context.signal });
      context.answer(await daemon.status(), '');
      if (!context.signal.aborted) await once(context.signal, 'abort');
    },
  }),
];
