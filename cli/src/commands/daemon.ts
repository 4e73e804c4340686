import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config, Daemon } from '@drakkar/daemon';
import { isDrakkarError } from '@drakkar/errors';
import { defineCommand } from '../command-line/command.ts';

/** `drakkar daemon`: the per-host daemon, until it is told to end. */
export const commands = [
  defineCommand({
    name: 'daemon',
    summary: 'run the per-host daemon (drakkar-native runs beside it, as root)',
    positionals: [],
    servesSocket: true,
    options: {
      name: { summary: 'what people call this host, instead of swarm.name', value: 'name' },
      wait: {
        summary: 'wait while another daemon has the state directory or a port, instead of ending',
      },
    },
    async run(context, _, { name, wait }) {
      const config = named(await context.config(), name);
      await using daemon = await (wait ? inTurn(config, context.signal) : start(config, context.signal));
      context.answer(await daemon.status(), '');
      if (!context.signal.aborted) await once(context.signal, 'abort');
    },
  }),
];

const TURN_POLL_MS = 100;

const named = (config: Config, name: string | undefined): Config =>
  name === undefined ? config : { ...config, swarm: { ...config.swarm, name } };

async function start(config: Config, signal: AbortSignal): Promise<Daemon> {
  const { startDaemon } = await import('@drakkar/daemon');
  return await startDaemon(config, { signal });
}

/** When the one before has ended: an update may have the next one ready by then. */
async function inTurn(config: Config, signal: AbortSignal): Promise<Daemon> {
  for (;;) {
    try {
      return await start(config, signal);
    } catch (error) {
      if (!isDrakkarError(error, 'busy')) throw error;
      await delay(TURN_POLL_MS, undefined, { signal });
    }
  }
}
