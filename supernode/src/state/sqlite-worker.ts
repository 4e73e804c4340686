/** Entry of the thread that writes a supernode's state; started by `SqliteThread` and by nothing else. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { toDrakkarError } from '@drakkar/protocol';
import { SqliteState } from './sqlite.ts';
import type { ThreadAnswer, ThreadRequest } from './sqlite-thread.ts';

const port = parentPort as MessagePort;
const state = new SqliteState(workerData as string);
const say = (answer: ThreadAnswer): void => port.postMessage(answer);

state.watch('', (changed) => say({ changed }));
port.on('message', async (request: ThreadRequest) => {
  if (request === 'end') {
    await state[Symbol.asyncDispose]();
    port.close();
    return;
  }
  const { id, changes, checks } = request;
  try {
    say({ id, revision: await state.commit(changes, checks) });
  } catch (error) {
    say({ id, error: toDrakkarError(error).toJSON() });
  }
});
