/** Entry of the builder process; started by {@link buildSnapshot} and by nothing else. */
import { toDrakkarError } from '@drakkar/protocol';
import { sendToParent } from '../own-process.ts';
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
// Without its parent a build is of no use to anybody. One that is killed while this process begins may never be missed on the channel.
const LOOK_MS = 1_000;
const parent = process.ppid;
process.on('disconnect', () => process.exit(1));
if (!process.connected) process.exit(1);
setInterval(() => {
  if (process.ppid !== parent) process.exit(1);
}, LOOK_MS).unref();
