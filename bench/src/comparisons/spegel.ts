import { join } from 'node:path';
import { answersAt, buildSpegel, type Containerd, startChild, untilReady } from '@drakkar/lab';
import { pulledBy, startContainerds } from './containerds.ts';
import { type Contender, type Host, type Site, Unavailable } from './contender.ts';

const [REGISTRY_PORT, ROUTER_PORT, BOOTSTRAP_PORT, METRICS_PORT] = [5_000, 5_001, 5_002, 9_090];
/** It looks for others now and then until it has found one. */
const JOIN_MS = 60_000;

/** One on each host gives others what its containerd has; the first tells the others where it is. */
export const spegel: Contender = {
  name: 'spegel',
  async prepare(site) {
    const program = await buildSpegel().catch((error: Error) => {
      throw new Unavailable(error.message, { cause: error });
    });
    await using stack = new AsyncDisposableStack();
    const containerds = await startContainerds(site, stack);
    await Promise.all(
      [...containerds].map(async ([host, containerd]) => {
        const child = stack.use(
          startChild(...host.place.within(program, argumentsOf(site, host, containerd))),
        );
        await untilReady(child, 'spegel', () => answersAt(`${mirrorUrlOf(host)}/readyz`, 200), JOIN_MS);
      }),
    );
    const pulled = await pulledBy(site, containerds, mirrorUrlOf);
    const running = stack.move();
    return { ...pulled, [Symbol.asyncDispose]: () => running.disposeAsync() };
  },
};

const mirrorUrlOf = ({ place }: Host): string => `http://${place.address}:${REGISTRY_PORT}`;

function argumentsOf(
  { hosts: [first], registry }: Site,
  { place: { address } }: Host,
  { address: socket, namespace, directory }: Containerd,
): string[] {
  return [
    ...['registry', `--mirrored-registries=${registry.url}`],
    `--registry-addr=${address}:${REGISTRY_PORT}`,
    `--router-addr=${address}:${ROUTER_PORT}`,
    `--metrics-addr=127.0.0.1:${METRICS_PORT}`,
    ...[`--containerd-sock=${socket}`, `--containerd-namespace=${namespace}`],
    `--containerd-content-path=${join(directory, 'root/io.containerd.content.v1.content')}`,
    ...['--bootstrap-kind=http', `--http-bootstrap-addr=${address}:${BOOTSTRAP_PORT}`],
    `--http-bootstrap-peer=http://${first?.place.address}:${BOOTSTRAP_PORT}`,
  ];
}
