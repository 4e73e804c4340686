import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ADMIN_SOCKET_NAME, SupernodeClient } from '@drakkar/client';
import { freePort, type RedisServer, startRedis } from '@drakkar/lab';
import { type Member, memberOf } from './member.ts';
import type { Network } from './network.ts';

export interface FleetSupernode extends Member {
  readonly client: SupernodeClient;
  readonly stateDirectory: string;
  readonly configFile: string;
}

export interface SupernodesOptions {
  readonly directory: string;
  readonly network: Network | undefined;
  readonly count: number;
  /** Further settings of each. */
  readonly settings: Readonly<Record<string, unknown>> | undefined;
}

export interface Supernodes {
  readonly all: readonly [FleetSupernode, ...FleetSupernode[]];
  /** Where there are several. */
  readonly redis: RedisServer | undefined;
}

/** One alone, or several over a Redis of theirs. They end with the stack. */
export async function startSupernodes(
  { directory, network, count, settings }: SupernodesOptions,
  stack: AsyncDisposableStack,
): Promise<Supernodes> {
  const redis = count > 1 ? stack.use(await startRedis(await network?.add())) : undefined;
  const state = redis === undefined ? {} : { redis: { url: redis.url } };
  const supernodes: FleetSupernode[] = [];
  for (let index = 0; index < count; index += 1) {
    const place = await network?.add();
    const stateDirectory = join(directory, `supernode-${index}`);
    await mkdir(stateDirectory);
    const configFile = join(directory, `supernode-${index}.yaml`);
    const address = place?.address ?? '127.0.0.1';
    const client = new SupernodeClient({ socketPath: join(stateDirectory, ADMIN_SOCKET_NAME) });
    const config = {
      ...{ stateDirectory, state, address, port: await freePort() },
      ...{ metrics: { address, port: 0 }, api: { port: 0 }, log: { level: 'warn' }, ...settings },
    };
    const configure = () => writeFile(configFile, JSON.stringify(config));
    const ask = async () => void (await client.status());
    const member = memberOf(place, ['supernode', '--config', configFile], configure, ask);
    stack.defer(() => member.kill('SIGTERM'));
    await member.start();
    supernodes.push(Object.assign(member, { client, stateDirectory, configFile }));
  }
  const [first, ...others] = supernodes;
  if (first === undefined) throw new Error('a fleet without a supernode');
  return { all: [first, ...others], redis };
}
