import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Containerd } from '@drakkar/lab';
import { DrakkarError } from '@drakkar/protocol';
import type { Stretch } from '../output/timeline.ts';
import type { DemoImage } from './demo-image.ts';

/** What says more than its first line may say it this long. */
export const GRACE_MS = 1000;

/** How long containerd with overlayfs takes for the same: pull, unpack, start. */
export interface ContainerdStart {
  readonly stretches: readonly Stretch[];
  readonly firstOutputMs: number;
}

/** Pulls and starts an image that this containerd has never seen. */
export async function startWithContainerd(
  containerd: Containerd,
  image: DemoImage,
  signal: AbortSignal,
): Promise<ContainerdStart> {
  const startedMs = performance.now();
  const plain = image.plainHttp ? ['--plain-http'] : [];
  await containerd.ctr(['images', 'pull', ...plain, image.reference], { signal });
  const pulledMs = performance.now() - startedMs;
  const firstOutputMs = (await untilFirstOutput(containerd, image, signal)) - startedMs;
  return {
    stretches: [
      { name: 'pull and unpack', fromMs: 0, toMs: pulledMs },
      { name: 'create, run to first output', fromMs: pulledMs, toMs: firstOutputMs },
    ],
    firstOutputMs,
  };
}

/** A server says nothing more after its first line, or nothing at all: this long is waited for a first one. */
export const OUTPUT_DEADLINE_MS = 30_000;

/** Ends the container after its first output. */
async function untilFirstOutput(
  containerd: Containerd,
  image: DemoImage,
  signal: AbortSignal,
): Promise<number> {
  const id = `drakkar-demo-${process.pid}`;
  const args = ['--address', containerd.address, '--namespace', containerd.namespace];
  const child = spawn('ctr', [...args, 'run', '--rm', image.reference, id], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let firstOutputMs: number | undefined;
  let errors = '';
  let isEnded = false;
  const end = () => {
    isEnded = true;
    void containerd.ctr(['tasks', 'kill', '--signal', 'SIGKILL', id]).catch(() => child.kill('SIGKILL'));
  };
  const timer = setTimeout(end, OUTPUT_DEADLINE_MS);
  signal.addEventListener('abort', end, { once: true });
  child.stdout.on('data', () => {
    if (firstOutputMs !== undefined) return;
    firstOutputMs = performance.now();
    setTimeout(end, GRACE_MS).unref();
  });
  child.stderr.on('data', (bytes) => {
    errors = (errors + bytes).slice(-2000);
  });
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  signal.removeEventListener('abort', end);
  signal.throwIfAborted();
  if (code !== 0 && !isEnded) {
    throw new DrakkarError('internal', `ctr run ended with ${code}: ${errors.trim()}`);
  }
  return firstOutputMs ?? performance.now();
}
