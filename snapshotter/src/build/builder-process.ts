/** Entry of the builder process; started by {@link buildSnapshot} and by nothing else. */
import { toDrakkarError } from '@drakkar/protocol';
import { endWithParent, sendToParent } from '../own-process.ts';
import type { FromBuilder, ToBuilder } from './messages.ts';
import { runPipeline } from './pipeline.ts';
import type { BuildRequest } from './request.ts';

const reservations: (() => void)[] = [];

const send = sendToParent<FromBuilder>;

async function build(request: BuildRequest): Promise<void> {
  try {
    const built = await runPipeline(request, {
      input: process.stdin,
      reserve: (bytes) =>
        new Promise((resolve) => {
          reservations.push(resolve);
          void send({ kind: 'reserve', bytes });
        }),
      onProgress: (progress) => void send({ kind: 'progress', progress }),
    });
    await send({ kind: 'built', built });
  } catch (error) {
    await send({ kind: 'failed', error: toDrakkarError(error).toJSON() });
  }
  process.exit();
}

process.on('message', (message: ToBuilder) => {
  if (message.kind === 'reserved') reservations.shift()?.();
  else void build(message.request);
});
endWithParent();
