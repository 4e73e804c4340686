import type { Mark, StartResult, StartStatus } from '@drakkar/client';
import { DrakkarError, toDrakkarError } from '@drakkar/errors';
import { type Context, showing } from '../context.ts';
import type { Outputs, RunFlags } from './request.ts';

/** What a run was: the document of `--json`. */
export interface RunReport extends Pick<StartResult, 'image' | 'manifestDigest' | 'found' | 'receipt'> {
  readonly exitCode: number;
  readonly marks: readonly Mark[];
}

/**
 * Runs a container of an image until it ends.
 *
 * The daemon is asked first: what launches the container is loaded while it works.
 *
 * @param command replaces the image's own, where it is not empty
 */
export async function runImage(
  context: Context,
  image: string,
  command: string[],
  flags: RunFlags,
  outputs: Outputs = { stdout: context.json ? process.stderr : process.stdout, stderr: process.stderr },
): Promise<RunReport> {
  if (process.getuid?.() !== 0) {
    throw new DrakkarError('forbidden', 'containers are started by root', {
      hint: 'run this command as root; the daemon may be any user',
    });
  }
  if (flags.tty === true && !process.stdin.isTTY) {
    throw new DrakkarError('invalid_argument', '--tty needs a terminal on stdin', {
      hint: 'leave --tty out where the input comes from a file or a pipe',
    });
  }
  const client = await context.client();
  const startedMs = performance.now();
  const request = { image, platform: flags.platform, ownerPid: process.pid };
  let loading: Promise<typeof import('./launch.ts')> | undefined;
  const load = () => {
    loading ??= import('./launch.ts');
    return loading;
  };
  const start = await showing<StartResult>(context, (call) =>
    client.start(request, { ...call, onSent: load }),
  );
  try {
    const marks = [...start.marks];
    // The daemon's clock began when our request arrived; what came before belongs to the first stretch.
    const mark = (name: Mark['name']) => void marks.push({ name, atMs: performance.now() - startedMs });
    const { launch } = await load();
    /** What had come by then. */
    let atOutput: Promise<StartStatus | undefined> | undefined;
    const exitCode = await launch(start, command, flags, outputs, {
      created: () => mark('container-created'),
      firstOutput: () => {
        mark('first-output');
        atOutput = client.startStatus(start.id).catch(() => undefined);
      },
    });
    mark('ended');
    const { manifestDigest, found } = start;
    const receipt = (await atOutput)?.receipt ?? start.receipt;
    return { image: start.image, manifestDigest, found, receipt, exitCode, marks };
  } finally {
    await client.endStart(start.id).catch((cause: unknown) => {
      const { message } = toDrakkarError(cause);
      context.say(`drakkar: the root file system stays until the daemon is asked again: ${message}`);
    });
  }
}
