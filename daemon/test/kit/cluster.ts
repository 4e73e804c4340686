import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { ADMIN_SOCKET_NAME, SupernodeClient } from '@drakkar/client';
import {
  type FaultyProxy,
  freePort,
  type Registry,
  startFaultyProxy,
  startRegistry,
  temporaryDirectory,
} from '@drakkar/lab';
import { Tracing } from '@drakkar/service';
import { type Supernode, startSupernode, supernodeConfiguration } from '@drakkar/supernode';
import { pino } from 'pino';
import { type Content, createContent } from '../../src/content/index.ts';
import { openStore, type Store, type StoreOptions } from '../../src/store/index.ts';
import { type SwarmPeer, type SwarmPeerOptions, startSwarmPeer } from '../../src/swarm/index.ts';
import { createRegistryClient, type RegistryClient } from '../../src/upstream/index.ts';
import { type CutBlob, cutBlob } from './cut-blob.ts';
import { HASTY } from './stack.ts';

/** What a daemon has between its registry, the other hosts and its disk. */
export interface ClusterHost extends AsyncDisposable {
  readonly client: RegistryClient;
  readonly store: Store;
  readonly swarm: SwarmPeer;
  readonly content: Content;
  readonly directory: string;
  readonly key: KeyObject;
}

export interface HostOptions {
  /** Who it is, where it has been there before. */
  readonly key?: KeyObject;
  readonly directory?: string;
  readonly store?: Partial<StoreOptions>;
  readonly limits?: Partial<SwarmPeerOptions['limits']>;
  /** Where it goes; the first one where absent. */
  readonly supernodes?: readonly string[];
  readonly supernodesNow?: SwarmPeerOptions['supernodesNow'];
  /** It has been started, and that is all: the test has it join. */
  readonly joinsLater?: boolean;
}

/** A registry, a supernode and hosts of one process, each with an address of its own. */
export interface Cluster extends AsyncDisposable {
  readonly registry: Registry;
  /** Before the registry: counts what is asked of it, and can be taken away. */
  readonly proxy: FaultyProxy;
  readonly image: { readonly registry: string; readonly repository: string };
  readonly join: { readonly supernode: string; readonly joinToken: string };
  readonly supernode: Supernode;
  /** Speaks with the supernode as its operator does. */
  readonly operator: SupernodeClient;
  /** Ends the supernode, and starts it again where it was. */
  restartSupernode(meanwhile?: (directory: string) => Promise<void>): Promise<void>;
  readonly client: RegistryClient;
  host(options?: HostOptions): Promise<ClusterHost>;
  /** A blob that the registry has. */
  push(lengths: readonly number[]): Promise<CutBlob>;
}

const LIMITS = {
  uploadSlots: 8,
  uploadRate: null,
  downloadRate: null,
  inFlightBytes: 64 * 2 ** 20,
  memoryBytes: 2 ** 30,
};

/** @param options of the supernode */
export async function startCluster(
  options: { readonly snapshots?: object; readonly state?: object; readonly swarm?: object } = {},
): Promise<Cluster> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const proxy = stack.use(await startFaultyProxy(registry.url));
  const { path } = stack.use(await temporaryDirectory('cluster'));
  const address = '127.0.0.1';
  const config = supernodeConfiguration.complete({
    ...options,
    stateDirectory: join(path, 'supernode'),
    address,
    port: await freePort(),
    metrics: { address, port: 0 },
    api: { port: 0 },
    log: { level: 'error' },
  });
  let supernode = await startSupernode(config);
  stack.defer(async () => await supernode[Symbol.asyncDispose]());
  const join_ = { supernode: supernode.status().address, joinToken: supernode.joinToken };
  const client = stack.use(createRegistryClient(HASTY));
  const image = { registry: proxy.host, repository: 'library/thing' };
  let hosts = 0;
  const host = async (options: HostOptions = {}): Promise<ClusterHost> => {
    hosts += 1;
    await using parts = new AsyncDisposableStack();
    const key = options.key ?? generateKeyPairSync('ed25519').privateKey;
    const directory = options.directory ?? join(path, `host-${hosts}`);
    const store = parts.use(await openStore({ directory, ...options.store }));
    const swarm = parts.use(
      await startSwarmPeer(
        {
          supernodes: options.supernodes ?? [join_.supernode],
          supernodesNow: options.supernodesNow,
          joinToken: join_.joinToken,
          stateDirectory: directory,
          name: `host-${hosts}`,
          labels: {},
          roles: [],
          address,
          advertise: null,
          controlPort: 0,
          dataPort: 0,
          mdns: false,
          limits: { ...LIMITS, ...options.limits },
        },
        {
          key,
          store,
          log: pino({ level: 'silent' }),
          tracing: new Tracing(),
        },
      ),
    );
    store.onRemoved((content) => swarm.forget(content));
    const content = parts.use(createContent({ graceMs: 50 }, { store, client, swarm }));
    if (options.joinsLater !== true) swarm.join();
    while (options.joinsLater !== true && !swarm.status().supernode.up)
      await new Promise((resolve) => setTimeout(resolve, 5));
    const running = parts.move();
    return {
      client,
      store,
      swarm,
      content,
      directory,
      key,
      [Symbol.asyncDispose]: () => running.disposeAsync(),
    };
  };
  const running = stack.move();
  return {
    registry,
    proxy,
    image,
    join: join_,
    get supernode() {
      return supernode;
    },
    operator: new SupernodeClient({ socketPath: join(config.stateDirectory, ADMIN_SOCKET_NAME) }),
    async restartSupernode(meanwhile) {
      await supernode[Symbol.asyncDispose]();
      await meanwhile?.(config.stateDirectory);
      supernode = await startSupernode(config);
    },
    client,
    host,
    async push(lengths) {
      const blob = cutBlob(lengths);
      const { bytes, digest, sizeBytes } = blob;
      await client.pushBlob({ ...image, registry: registry.host }, digest, sizeBytes, { bytes });
      return blob;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
