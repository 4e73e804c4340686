/** Entry of the builder process; started by {@link buildSnapshot} and {@link rearrangeSnapshot}. */
import { toDrakkarError } from '@drakkar/protocol';
import { endWithParent, sendToParent } from '../own-process.ts';
import type { FromBuilder, ToBuilder } from './messages.ts';
import { runPipeline } from './pipeline.ts';
import { rearrange } from './rearrange.ts';
import type { BuildProgress, BuildRequest } from './request.ts';

const reservations: (() => void)[] = [];

const send = sendToParent<FromBuilder>;

function reserve(bytes: number): Promise<void> {
  return new Promise((resolve) => {
    reservations.push(resolve);
    void send({ kind: 'reserve', bytes });
  });
}

async function build(request: BuildRequest): Promise<FromBuilder> {
  const onProgress = (progress: BuildProgress) => void send({ kind: 'progress', progress });
  const built = await runPipeline(request, { input: process.stdin, reserve, onProgress });
  return { kind: 'built', built };
}

async function work(message: Exclude<ToBuilder, { kind: 'reserved' }>): Promise<void> {
  try {
    await send(
      message.kind === 'build'
        ? await build(message.request)
        : { kind: 'rearranged', rearranged: await rearrange(message.request, { reserve }) },
    );
  } catch (error) {
    await send({ kind: 'failed', error: toDrakkarError(error).toJSON() });
  }
  process.exit();
}

process.on('message', (message: ToBuilder) => {
  if (message.kind === 'reserved') reservations.shift()?.();
  else void work(message);
});
endWithParent();
