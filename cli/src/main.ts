/** The `drakkar` command: wiring only. Each command is a file of `commands/`. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { blobsCommand } from './commands/blobs.ts';
import type { Run } from './commands/command.ts';
import { configCommand } from './commands/config.ts';
import { daemonCommand } from './commands/daemon.ts';
import { doctorCommand } from './commands/doctor.ts';
import { pullCommand } from './commands/pull.ts';
import { runCommand } from './commands/run.ts';
import { snapshotCommand } from './commands/snapshot.ts';
import { upCommand } from './commands/up.ts';
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

for (const add of [
  upCommand,
  daemonCommand,
  pullCommand,
  runCommand,
  snapshotCommand,
  blobsCommand,
  configCommand,
  doctorCommand,
]) {
  add(program, run);
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError || error instanceof InvalidArgumentError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_CODES.invalid_argument;
}
