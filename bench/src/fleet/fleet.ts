import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ADMIN_SOCKET_NAME, AdminClient } from '@drakkar/client';
import type { RedisServer, Registry } from '@drakkar/lab';
import { nativeSocketOf, startHelperIn } from '../runner/helper.ts';
import { eachOf } from '../runner/parallel.ts';
import { type Ground, type GroundOptions, startGround } from './ground.ts';
import { ENTRY, type Member, memberOf } from './member.ts';
import type { Network, Place } from './network.ts';
import { type FleetSupernode, startSupernodes } from './supernodes.ts';

export interface FleetOptions extends GroundOptions {
  /** Where it shall stand, and what stands there stays when the fleet has gone; a ground of its own when absent. */
  readonly ground?: Ground;
  /** Hosts can mount snapshots: each has a native helper beside its daemon. Needs root. */
  readonly volumes?: boolean;
  /** Further settings of every daemon's configuration, asked for whenever it starts. */
  readonly daemon?: (index: number) => Readonly<Record<string, object>>;
  /** Of each daemon's environment, beside our own. */
  readonly environment?: (index: number) => Readonly<Record<string, string>>;
  /** Bytes of a disk of its own for what a daemon keeps; mounting it needs root. */
  readonly diskBytes?: (index: number) => number | undefined;
  /** How many supernodes, over a Redis of theirs where there are several; one when absent. */
  readonly supernodes?: number;
  /** Further settings of each supernode. */
  readonly supernode?: Readonly<Record<string, unknown>>;
}

export interface FleetHost extends Member {
  readonly index: number;
  readonly client: AdminClient;
  readonly stateDirectory: string;
  /** Of its native helper, where it has one. */
  readonly helperPid: number | undefined;
  /** The argument list that runs the `drakkar` command against this host's daemon. */
  command(args: readonly string[]): string[];
}

export interface Fleet extends AsyncDisposable {
  readonly registry: Registry;
  readonly registryPlace: Place | undefined;
  readonly network: Network | undefined;
  /** The first one. */
  readonly supernode: FleetSupernode;
  readonly supernodes: readonly FleetSupernode[];
  /** Theirs, where there are several. */
  readonly redis: RedisServer | undefined;
  readonly hosts: readonly FleetHost[];
  readonly join: { readonly supernode: string; readonly joinToken: string };
}

const run = promisify(execFile);

const DIRECTORY = '/var/tmp';
const STATE = 'state';
const STARTING = 3;
/** A registry, a supernode and daemons, each a process of its own. Everything is gone when it is disposed. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(DIRECTORY, 'drakkar-fleet-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const ground = options.ground ?? stack.use(await startGround(options));
  const { network, registry, registryPlace } = ground;
  const { supernodes: count = 1, supernode: settings } = options;
  const { all: supernodes, redis } = await startSupernodes({ directory, network, count, settings }, stack);
  const [supernode] = supernodes;
  const { supernode: address, supernodes: addresses, joinToken } = await supernode.client.joinToken();
  const hosts = await Promise.all(
    ground.hosts.map(async ({ place, rack }, index) => {
      const diskBytes = options.diskBytes?.(index);
      if (diskBytes !== undefined) stack.use(await mountDisk(homeOf(directory, index), diskBytes));
      const helper = options.volumes ? stack.use(await startHelperIn(homeOf(directory, index))) : undefined;
      const member = await hostOf(directory, index, place, {
        ...options,
        join: { supernode: [address, ...addresses.filter((other) => other !== address)], joinToken },
        registry: registry.host,
        rack,
      });
      return Object.assign(member, { helperPid: helper?.pid });
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
    supernodes,
    redis,
    hosts,
    join: { supernode: address, joinToken },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
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
    readonly join: { readonly supernode: readonly string[]; readonly joinToken: string };
    readonly registry: string;
    readonly rack: string;
  },
): Promise<Omit<FleetHost, 'helperPid'>> {
  const home = homeOf(directory, index);
  const stateDirectory = join(home, STATE);
  await mkdir(stateDirectory, { recursive: true });
  const file = join(home, 'config.yaml');
  const configure = () => {
    const { swarm = {}, native = {}, registries = {}, ...more } = options.daemon?.(index) ?? {};
    return writeFile(
      file,
      JSON.stringify({
        stateDirectory,
        log: { level: 'warn' },
        mirror: { port: 0 },
        metrics: { port: 0 },
        registries: { plainHttp: [options.registry], dockerConfigFile: null, ...registries },
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
