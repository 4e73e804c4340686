import { dirname, join } from 'node:path';
import { type Config, type Daemon, keepHelper, startDaemon } from '@drakkar/daemon';
import { DrakkarError } from '@drakkar/errors';
import { makeDirectory } from '@drakkar/service';
import { adminSocket } from '../context.ts';
import { kernelChecks } from '../doctor/checks.ts';
import { killContainer } from '../run/container.ts';

/** Everything on one machine: the helper as a process of its own, the daemon in this one. */
export interface Machine extends AsyncDisposable {
  readonly daemon: Daemon;
  readonly socket: string;
}

/**
 * Starts helper and daemon. Disposing it unmounts what nothing uses, then ends both.
 *
 * @param hear told what the helper says
 * @throws `unsupported` where the helper can't be started or this kernel can't mount
 */
export async function startMachine(
  config: Config,
  signal: AbortSignal,
  say: (text: string) => void,
  hear: (words: string) => void = () => {},
): Promise<Machine> {
  await using started = new AsyncDisposableStack();
  const content = join(config.stateDirectory, 'volumes');
  await makeDirectory(content, 0o700);
  started.use(
    await keepHelper(
      {
        root: join(dirname(config.stateDirectory), 'native'),
        content,
        blobs: join(config.stateDirectory, 'blobs', 'sha256'),
        socket: config.native.socket,
        uid: process.getuid?.() ?? 0,
        readDeadlineMs: config.native.readDeadlineMs,
        onWords: hear,
        signal,
      },
      () => say('drakkar: the native helper has ended and is started again'),
    ),
  );
  const daemon = started.use(await startDaemon(config, { signal }));
  await refuseUnfitKernel(daemon);
  started.defer(() => endEverything(daemon));
  const stack = started.move();
  return { daemon, socket: adminSocket(config), [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Containers that still run are killed: their root file systems go away with us. */
async function endEverything(daemon: Daemon): Promise<void> {
  for (const id of await daemon.starts()) await killContainer(id);
  const busy = await daemon.unmountAll();
  if (busy.length === 0) return;
  throw new DrakkarError('busy', `still in use and left mounted: ${busy.join(', ')}`, {
    hint: 'end the processes that use them, then start and stop `drakkar up` once more',
  });
}

/** @throws `unsupported` where this kernel can't mount what we make, with what to do about it */
async function refuseUnfitKernel(daemon: Daemon): Promise<void> {
  const { native } = await daemon.status();
  const failure = native && kernelChecks(native).find(({ verdict }) => verdict === 'failure');
  if (failure) throw new DrakkarError('unsupported', failure.finding, { hint: failure.remedy });
}
