import { once } from 'node:events';
import { connect } from 'node:net';
import { startChild, untilReady } from './child.ts';
import { freePort } from './ports.ts';
import { temporaryDirectory } from './temporary.ts';

export interface RedisOptions {
  /** Where it listens; on loopback when absent. */
  readonly address?: string;
  /** Makes a command line that runs elsewhere: in a network namespace. */
  readonly within?: (command: string, args: readonly string[]) => readonly [string, readonly string[]];
}

/** A running `redis-server`, which keeps what it is told as long as its directory is there. */
export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  /** SIGKILL; {@link start} brings it back with what it had written. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** @throws when redis-server is not installed, or was not ready in time */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const { address = '127.0.0.1', within = (...line) => line } = options;
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryDirectory('redis'));
  const port = await freePort();
  const persistence = ['--dir', path, '--appendonly', 'yes', '--save', ''];
  const line = within('redis-server', [
    ...['--port', `${port}`, '--bind', address, '--protected-mode', 'no'],
    ...persistence,
  ]);
  const begin = async () => {
    const child = startChild(...line);
    await untilReady(child, 'redis-server', () => answers(address, port));
    return child;
  };
  let child = await begin();
  stack.defer(() => child.stop());
  const running = stack.move();
  return {
    url: `redis://${address}:${port}`,
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
async function answers(address: string, port: number): Promise<boolean> {
  const socket = connect(port, address);
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
