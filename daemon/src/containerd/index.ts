/**
 * This host's containerd: layers of images that have a block snapshot need not be unpacked, others are directories.
 *
 * - `images` which those are
 * - `first-pulls` has snapshots made of those that have none
 * - `layers` where the others are, and what is written upon either
 */
import { join } from 'node:path';
import { DrakkarError } from '@drakkar/protocol';
import { currentSpan, isAnswered, type Tracing } from '@drakkar/service';
import { Metadata, Snapshots, serveSnapshots } from '@drakkar/snapshotter';
import { type Log, type SnapshotService, Work } from '../snapshots/index.ts';
import { FirstPulls } from './first-pulls.ts';
import { RemoteImages } from './images.ts';
import { type Helpers, NativeLayers } from './layers.ts';

export interface SnapshotterModules {
  readonly native: Helpers;
  readonly snapshots: SnapshotService;
  /** An image was unpacked that has no snapshot. @returns whether the cluster decides what is done about it */
  readonly firstPull: (image: string, work: Work) => Promise<boolean>;
  readonly log: Log;
  readonly tracing: Tracing;
}

export interface SnapshotterOptions {
  readonly socket: string;
  readonly stateDirectory: string;
  /** How long after an image had to be unpacked its snapshot is made, in milliseconds; nothing for never. */
  readonly buildDelayMs: number | undefined;
}

/** @throws `busy` where another one answers at the socket */
export async function serveSnapshotter(
  { socket, stateDirectory, buildDelayMs }: SnapshotterOptions,
  { native, snapshots, firstPull, log, tracing }: SnapshotterModules,
): Promise<AsyncDisposable> {
  if (await isAnswered(socket)) {
    throw new DrakkarError('busy', `another snapshotter already answers at ${socket}`, {
      hint: 'stop it first, or give this one another containerd.snapshotterSocket',
    });
  }
  await using stack = new AsyncDisposableStack();
  const ending = new AbortController();
  stack.defer(() => ending.abort());
  const work = () => new Work({ signal: ending.signal });
  const metadata = stack.use(new Metadata(join(stateDirectory, 'containerd.sqlite')));
  const make = async (image: string, signal: AbortSignal) => {
    const work = new Work({ signal });
    if (await firstPull(image, work)) return 'told';
    await snapshots.chainIds(image, true, work);
    return 'made';
  };
  const firstPulls =
    buildDelayMs === undefined ? undefined : stack.use(new FirstPulls({ delayMs: buildDelayMs }, make, log));
  const service = new Snapshots({
    metadata,
    layers: new NativeLayers(
      native,
      {
        get changes() {
          return snapshots.changes;
        },
        mount: async (image, lowest) => {
          currentSpan()?.set({ image });
          return await snapshots.mountImage(image, lowest, work());
        },
      },
      log,
    ),
    images: new RemoteImages(
      {
        isKnown: (image) => snapshots.isKnown(image),
        chainIds: (image, mayBuild) => snapshots.chainIds(image, mayBuild, work()),
        umountImage: (image) => snapshots.umountImage(image, work()),
      },
      firstPulls,
      log,
    ),
  });
  stack.use(
    await serveSnapshots(socket, service, {
      run: (call, traceparent, answer) => tracing.run(`containerd ${call}`, { traceparent }, answer),
      failed: (call, error) => log.error({ call, error }, 'a call of containerd failed'),
    }),
  );
  const running = stack.move();
  return { [Symbol.asyncDispose]: () => running.disposeAsync() };
}
