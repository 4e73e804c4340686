import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Containerd } from '@drakkar/lab';
import { DrakkarError } from '@drakkar/protocol';
import type { Stretch } from '../output/timeline.ts';
import type { DemoImage } from './demo-image.ts';

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

async function untilFirstOutput(
  containerd: Containerd,
  image: DemoImage,
  signal: AbortSignal,
): Promise<number> {
  const args = ['--address', containerd.address, '--namespace', containerd.namespace];
  const child = spawn('ctr', [...args, 'run', '--rm', image.reference, 'drakkar-demo'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  let firstOutputMs: number | undefined;
  let errors = '';
  child.stdout.on('data', () => {
    firstOutputMs ??= performance.now();
  });
  child.stderr.on('data', (bytes) => {
    errors = (errors + bytes).slice(-2000);
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new DrakkarError('internal', `ctr run ended with ${code}: ${errors.trim()}`);
  return firstOutputMs ?? performance.now();
}
