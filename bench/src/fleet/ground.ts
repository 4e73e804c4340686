import { type Registry, type RegistryOptions, startRegistry } from '@drakkar/lab';
import { type Network, type Place, startNetwork } from './network.ts';

export interface GroundOptions {
  readonly hosts: number;
  /** Bits per second of each link, each way, the registry's too. */
  readonly rate?: number;
  /** How long a packet may wait for its link, each way; 50 ms when absent. */
  readonly queueMs?: number;
  /** Hosts of the second half are in a second rack behind a link of this rate. */
  readonly thinRate?: number;
  /** In namespaces of their own; else all on loopback, which needs no root. */
  readonly namespaces?: boolean;
  readonly registry?: RegistryOptions;
}

/** Where a fleet may stand: a registry and places for hosts, in which nothing runs. */
export interface Ground extends AsyncDisposable {
  readonly network: Network | undefined;
  readonly registry: Registry;
  readonly registryPlace: Place | undefined;
  /** One for each host; nowhere in particular where all are on loopback. */
  readonly hosts: readonly { readonly rack: 'a' | 'b'; readonly place: Place | undefined }[];
}

export async function startGround(options: GroundOptions): Promise<Ground> {
  await using stack = new AsyncDisposableStack();
  const { rate, queueMs, thinRate } = options;
  const network = options.namespaces
    ? stack.use(await startNetwork(thinRate === undefined ? {} : { racks: 2, thinRate }))
    : undefined;
  const registryPlace = await network?.add({ rate, queueMs });
  const registry = stack.use(
    await startRegistry({
      ...options.registry,
      ...(registryPlace === undefined
        ? {}
        : { address: registryPlace.address, within: registryPlace.within }),
    }),
  );
  const hosts = await Promise.all(
    Array.from({ length: options.hosts }, async (_, index) => {
      const isFar = thinRate !== undefined && index >= options.hosts / 2;
      const place = await network?.add({ rate, queueMs, rack: isFar ? 1 : 0 });
      return { rack: isFar ? ('b' as const) : ('a' as const), place };
    }),
  );
  const running = stack.move();
  return { network, registry, registryPlace, hosts, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
