import { type Command, Option } from 'commander';
import { type RunFlags, runImage } from '../run/run-image.ts';
import type { Run } from './command.ts';

/** `drakkar run IMAGE [-- CMD…]`: a container from a snapshot, with the timeline of its start. */
export function runCommand(program: Command, run: Run): void {
  const collect = (value: string, all: string[]) => [...all, value];
  program
    .command('run')
    .argument('<image>', 'image reference')
    .argument('[command...]', 'what to run instead of the image’s command, after --')
    .option('--platform <os/arch>', 'platform to choose from an index')
    .option('-e, --env <name=value>', 'set an environment variable; NAME alone passes yours on', collect, [])
    .option('-w, --workdir <dir>', 'working directory')
    .option('-u, --user <user>', 'user, by name or number, with :group or without')
    .option('--entrypoint <program>', 'instead of the image’s entrypoint')
    .option('-i, --interactive', 'pass stdin on')
    .option('-t, --tty', 'give it a terminal')
    .addOption(
      new Option('--net <network>', 'the host’s network, or none').choices(['host', 'none']).default('host'),
    )
    .description('start a container from an image’s snapshot and print the timeline')
    .action(
      run(async (context, image: string, command: string[], flags: RunFlags) => {
        const report = await runImage(context, image, command, flags);
        if (context.json) context.answer(report, '');
        else context.say((await import('../run/report.ts')).describeRun(report));
        process.exitCode = report.exitCode;
      }),
    );
}
