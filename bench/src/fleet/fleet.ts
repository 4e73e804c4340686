import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ADMIN_SOCKET_NAME, AdminClient, SupernodeClient } from '@drakkar/client';
import {
  type Child,
  type Registry,
  type RegistryOptions,
  startChild,
  startRegistry,
  untilReady,
} from '@drakkar/lab';
import { nativeSocketOf, startHelperIn } from '../runner/helper.ts';
import { eachOf } from '../runner/parallel.ts';
import { type Network, type Place, startNetwork } from './network.ts';

export interface FleetOptions {
  readonly hosts: number;
  /** Bits per second of each link, each way, the registry's too. */
  readonly rate?: number;
  /** Hosts of the second half are in a second rack behind a link of this rate. */
  readonly thinRate?: number;
  /** In namespaces of their own; else all on loopback, which needs no root. */
  readonly namespaces?: boolean;
  readonly registry?: RegistryOptions;
  /** Hosts can mount snapshots: each has a native helper beside its daemon. Needs root. */
  readonly volumes?: boolean;
  /** Further settings of every daemon's configuration, asked for whenever it starts. */
  readonly daemon?: (index: number) => Readonly<Record<string, object>>;
  /** Of each daemon's environment, beside our own. */
  readonly environment?: (index: number) => Readonly<Record<string, string>>;
  /** Bytes of a disk of its own for what a daemon keeps; mounting it needs root. */
  readonly diskBytes?: (index: number) => number | undefined;
  /** Further settings of the supernode. */
  readonly supernode?: Readonly<Record<string, unknown>>;
}

/** A program of the fleet that can be killed and started again. */
export interface Member {
  readonly place: Place | undefined;
  readonly pid: number;
  start(): Promise<void>;
  /** Returns when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  output(): string;
}

export interface FleetHost extends Member {
  readonly index: number;
  readonly client: AdminClient;
  readonly stateDirectory: string;
  /** The argument list that runs the `drakkar` command against this host's daemon. */
  command(args: readonly string[]): string[];
}

export interface Fleet extends AsyncDisposable {
  readonly registry: Registry;
  readonly registryPlace: Place | undefined;
  readonly network: Network | undefined;
  readonly supernode: Member & { readonly client: SupernodeClient; readonly stateDirectory: string };
  readonly hosts: readonly FleetHost[];
  readonly join: { readonly supernode: string; readonly joinToken: string };
}

const run = promisify(execFile);

const ENTRY = join(import.meta.dirname, '../../../cli/src/main.js');
const DIRECTORY = '/var/tmp';
const STATE = 'state';
const STARTING = 3;
/** However this process ends. Source: setpriv(1), prctl(2). */
const ENDS_WITH_US = ['--pdeathsig', 'KILL'];

/** A registry, a supernode and daemons, each a process of its own. Everything is gone when it is disposed. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(DIRECTORY, 'drakkar-fleet-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const { rate, thinRate } = options;
  const network = options.namespaces
    ? stack.use(await startNetwork(thinRate === undefined ? {} : { racks: 2, thinRate }))
    : undefined;
  const registryPlace = await network?.add({ rate });
  const registry = stack.use(
    await startRegistry({
      ...options.registry,
      ...(registryPlace === undefined
        ? {}
        : { address: registryPlace.address, within: registryPlace.within }),
    }),
  );
  const supernode = await startSupernodeOf(directory, await network?.add(), options, stack);
  const { supernode: address, joinToken } = await supernode.client.joinToken();
  const join_ = { supernode: address, joinToken };
  const hosts = await Promise.all(
    Array.from({ length: options.hosts }, async (_, index) => {
      const isFar = thinRate !== undefined && index >= options.hosts / 2;
      const place = await network?.add({ rate, rack: isFar ? 1 : 0 });
      const rack = isFar ? 'b' : 'a';
      const diskBytes = options.diskBytes?.(index);
      if (diskBytes !== undefined) stack.use(await mountDisk(homeOf(directory, index), diskBytes));
      if (options.volumes) stack.use(await startHelperIn(homeOf(directory, index)));
      const member = await hostOf(directory, index, place, {
        ...options,
        join: join_,
        registry: registry.host,
        rack,
      });
      return member;
    }),
  );
  stack.defer(async () => void (await Promise.all(hosts.map((host) => host.kill('SIGTERM')))));
  // Each needs a second of a core to begin.
  await eachOf(hosts, STARTING, (host) => host.start());
  const running = stack.move();
  return {
    registry,
    registryPlace,
    network,
    supernode,
    hosts,
    join: join_,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function startSupernodeOf(
  directory: string,
  place: Place | undefined,
  options: FleetOptions,
  stack: AsyncDisposableStack,
): Promise<Fleet['supernode']> {
  const stateDirectory = join(directory, 'supernode');
  await mkdir(stateDirectory);
  const file = join(directory, 'supernode.yaml');
  const address = place?.address ?? '127.0.0.1';
  // A free port the first time, and then the same one.
  let port = 0;
  const client = new SupernodeClient({ socketPath: join(stateDirectory, ADMIN_SOCKET_NAME) });
  const configure = () =>
    writeFile(
      file,
      JSON.stringify({
        stateDirectory,
        address,
        port,
        metrics: { address, port: 0 },
        api: { port: 0 },
        log: { level: 'warn' },
        ...options.supernode,
      }),
    );
  const member = memberOf(place, ['supernode', '--config', file], configure, async () => {
    const { address: bound } = await client.status();
    port = Number(/:([0-9]+)\//.exec(bound)?.[1]);
  });
  stack.defer(() => member.kill('SIGTERM'));
  await member.start();
  return { ...member, client, stateDirectory };
}

const homeOf = (directory: string, index: number): string => join(directory, `host-${index}`);

/** What a host keeps is on a disk of this size. */
async function mountDisk(home: string, sizeBytes: number): Promise<AsyncDisposable> {
  const path = join(home, STATE);
  await mkdir(path, { recursive: true });
  await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'drakkar-fleet', path]);
  return { [Symbol.asyncDispose]: async () => void (await run('umount', [path])) };
}

async function hostOf(
  directory: string,
  index: number,
  place: Place | undefined,
  options: Pick<FleetOptions, 'daemon' | 'environment'> & {
    readonly join: Fleet['join'];
    readonly registry: string;
    readonly rack: string;
  },
): Promise<FleetHost> {
  const home = homeOf(directory, index);
  const stateDirectory = join(home, STATE);
  await mkdir(stateDirectory, { recursive: true });
  const file = join(home, 'config.yaml');
  const configure = () => {
    const { swarm = {}, native = {}, ...more } = options.daemon?.(index) ?? {};
    return writeFile(
      file,
      JSON.stringify({
        stateDirectory,
        log: { level: 'warn' },
        mirror: { port: 0 },
        metrics: { port: 0 },
        registries: { plainHttp: [options.registry], dockerConfigFile: null },
        native: { socket: nativeSocketOf(home), ...native },
        swarm: {
          ...options.join,
          name: `host-${index}`,
          labels: { rack: options.rack },
          address: place?.address ?? '127.0.0.1',
          controlPort: 0,
          dataPort: 0,
          mdns: false,
          ...swarm,
        },
        ...more,
      }),
    );
  };
  const socket = join(stateDirectory, ADMIN_SOCKET_NAME);
  const client = new AdminClient(socket);
  const ask = async () => void (await client.status());
  const environment = options.environment?.(index);
  const member = memberOf(place, ['daemon', '--config', file], configure, ask, environment);
  const command = (args: readonly string[]) => [process.execPath, ENTRY, '--socket', socket, ...args];
  return Object.assign(member, { index, client, stateDirectory, command });
}

function memberOf(
  place: Place | undefined,
  args: readonly string[],
  configure: () => Promise<void>,
  ask: () => Promise<void>,
  environment: Readonly<Record<string, string>> = {},
): Member {
  let child: Child | undefined;
  return {
    place,
    get pid() {
      return child?.process.pid ?? 0;
    },
    output: () => child?.output() ?? '',
    async start() {
      await configure();
      const line = [process.execPath, ENTRY, ...args];
      const [command, all] = place?.within('setpriv', [...ENDS_WITH_US, ...line]) ?? [
        'setpriv',
        [...ENDS_WITH_US, ...line],
      ];
      child = startChild(command, all, { env: { ...process.env, ...environment } });
      await untilReady(child, args[0] ?? '', () =>
        ask().then(
          () => true,
          () => false,
        ),
      );
    },
    async kill(signal = 'SIGKILL') {
      if (child === undefined) return;
      child.process.kill(signal);
      await child.stop();
    },
  };
}
