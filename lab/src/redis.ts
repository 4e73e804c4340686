import { once } from 'node:events';
import { connect } from 'node:net';
import { startChild, untilReady } from './child.ts';
import { freePort } from './ports.ts';
import { temporaryDirectory } from './temporary.ts';

/** A running `redis-server`, which keeps what it is told as long as its directory is there. */
export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  /** SIGKILL; {@link start} brings it back with what it had written. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** @throws when redis-server is not installed, or was not ready in time */
export async function startRedis(): Promise<RedisServer> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryDirectory('redis'));
  const port = await freePort();
  const args = [
    '--port',
    `${port}`,
    '--bind',
    '127.0.0.1',
    '--dir',
    path,
    '--appendonly',
    'yes',
    '--save',
    '',
  ];
  const begin = async () => {
    const child = startChild('redis-server', args);
    await untilReady(child, 'redis-server', () => answers(port));
    return child;
  };
  let child = await begin();
  stack.defer(() => child.stop());
  const running = stack.move();
  return {
    url: `redis://127.0.0.1:${port}`,
    async kill() {
      child.process.kill('SIGKILL');
      await child.stop();
    },
    async start() {
      child = await begin();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Until it has read what it had written, it answers with an error. */
async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    socket.end('PING\r\n');
    const [answer] = await once(socket, 'data');
    return String(answer).startsWith('+PONG');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
