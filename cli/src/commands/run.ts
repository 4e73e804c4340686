import { dirname } from 'node:path';
import type { Mark, StartResult } from '@drakkar/client';
import { DrakkarError, toDrakkarError } from '@drakkar/errors';
import { type Command, Option } from 'commander';
import { type Context, showing } from '../context.ts';
import { releaseInterrupts } from '../interrupt.ts';
import { formatBytes, formatDuration } from '../output/format.ts';
import { drawStretches, stretches } from '../output/timeline.ts';
import { type RunOptions, runtimeSpec } from '../run/bundle.ts';
import { runContainer } from '../run/container.ts';
import { readInRootfs } from '../run/rootfs.ts';
import { resolveUser } from '../run/user.ts';
import type { Run } from './command.ts';

const BAR_WIDTH = 40;

interface Flags {
  readonly platform?: string;
  readonly env: string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly entrypoint?: string;
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly net: 'host' | 'none';
}

/** What a run was: the document of `--json`. */
export interface RunReport extends Pick<StartResult, 'image' | 'manifestDigest' | 'found' | 'receipt'> {
  readonly exitCode: number;
  readonly marks: readonly Mark[];
}

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
      run(async (context, image: string, command: string[], flags: Flags) => {
        const report = await runImage(context, image, command, flags);
        if (context.json) context.answer(report, '');
        else context.say(describeRun(report));
        process.exitCode = report.exitCode;
      }),
    );
}

/** Where a container's output goes. */
export interface Outputs {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

export async function runImage(
  context: Context,
  image: string,
  command: string[],
  flags: Flags,
  outputs: Outputs = { stdout: context.json ? process.stderr : process.stdout, stderr: process.stderr },
): Promise<RunReport> {
  if (process.getuid?.() !== 0) {
    throw new DrakkarError('forbidden', 'containers are started by root', {
      hint: 'run this command as root; the daemon may be any user',
    });
  }
  const client = await context.client();
  const startedMs = performance.now();
  const request = { image, platform: flags.platform, ownerPid: process.pid };
  const start = await showing<StartResult>(context, (call) => client.start(request, call));
  try {
    const { imageConfig } = start;
    const [passwd, group] = await Promise.all(
      ['/etc/passwd', '/etc/group'].map((path) => readInRootfs(start.rootfs, path)),
    );
    const user = resolveUser(flags.user ?? imageConfig.config?.User ?? '', passwd ?? '', group ?? '');
    const options: RunOptions = {
      command,
      entrypoint: flags.entrypoint,
      env: flags.env,
      workingDirectory: flags.workdir,
      terminal: flags.tty === true,
      network: flags.net,
    };
    const spec = runtimeSpec(start.id, start.rootfs, imageConfig, user, options, process.env);
    const marks = [...start.marks];
    // The daemon's clock began when our request arrived; what came before belongs to the first stretch.
    const mark = (name: Mark['name']) => void marks.push({ name, atMs: performance.now() - startedMs });
    using _ = releaseInterrupts();
    const exitCode = await runContainer(
      {
        id: start.id,
        directory: dirname(start.rootfs),
        spec,
        terminal: options.terminal,
        interactive: flags.interactive === true || options.terminal,
        ...outputs,
      },
      { created: () => mark('container-created'), firstOutput: () => mark('first-output') },
    );
    mark('ended');
    const { manifestDigest, found, receipt } = start;
    return { image: start.image, manifestDigest, found, receipt, exitCode, marks };
  } finally {
    await client.endStart(start.id).catch((cause: unknown) => {
      const { message } = toDrakkarError(cause);
      context.say(`drakkar: the root file system stays until the daemon is asked again: ${message}`);
    });
  }
}

/** The timeline of a start in words and bars. */
export function describeRun(report: RunReport): string {
  const untilOutput = report.marks.filter(({ name }) => name !== 'ended');
  const totalMs = untilOutput.at(-1)?.atMs ?? 0;
  const last = untilOutput.at(-1)?.name === 'first-output' ? 'to the first output' : 'to the start';
  const { storeBytes, upstreamBytes } = report.receipt;
  return [
    `\n${report.image}: ${formatDuration(totalMs)} ${last}`,
    drawStretches(stretches(untilOutput), totalMs, BAR_WIDTH),
    `  read: ${formatBytes(upstreamBytes)} from the registry, ${formatBytes(storeBytes)} from the store`,
  ].join('\n');
}
