/** The commands: wiring only. Each is a file of `commands/`, which loads what is heavy when it runs. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import packageDocument from '../package.json' with { type: 'json' };
import type { AddCommand, Run } from './commands/command.ts';
import { contextOf, EXIT_CODES, reportError } from './context.ts';
import { untilInterrupted } from './interrupt.ts';

const program = new Command('drakkar')
  .description('containers that start from block snapshots')
  .option('--config <file>', 'configuration file (default: /etc/drakkar/config.yaml)')
  .option(
    '--socket <path>',
    'admin socket of the daemon (default: from the configuration, or $DRAKKAR_SOCKET)',
  )
  .option('--json', 'results as JSON on stdout: one object, or one a line')
  .version(packageDocument.version)
  .showHelpAfterError('(add --help for the whole of it)')
  .exitOverride();

const run: Run = (action) => {
  return async function (this: Command, ...args) {
    const context = contextOf(this, untilInterrupted());
    try {
      await action(context, ...args);
    } catch (cause) {
      const error = reportError(cause, context.json);
      process.exitCode = this.name() === 'run' && error.code !== 'cancelled' ? 125 : EXIT_CODES[error.code];
    }
  };
};

/** How each command adds itself. A command line loads the commands that it names, and all of them only for help. */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  up: async () => (await import('./commands/up.ts')).upCommand,
  daemon: async () => (await import('./commands/daemon.ts')).daemonCommand,
  pull: async () => (await import('./commands/pull.ts')).pullCommand,
  run: async () => (await import('./commands/run.ts')).runCommand,
  snapshot: async () => (await import('./commands/snapshot.ts')).snapshotCommand,
  blobs: async () => (await import('./commands/blobs.ts')).blobsCommand,
  config: async () => (await import('./commands/config.ts')).configCommand,
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
};

const named = process.argv.filter((word) => Object.hasOwn(COMMANDS, word));
for (const name of named.length > 0 ? new Set(named) : Object.keys(COMMANDS)) {
  const add = await COMMANDS[name]?.();
  add?.(program, run);
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError || error instanceof InvalidArgumentError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_CODES.invalid_argument;
  if (error.exitCode !== 0 && process.argv.includes('--json')) {
    const { message } = error;
    process.stdout.write(`${JSON.stringify({ error: { code: 'invalid_argument', message } })}\n`);
  }
}
