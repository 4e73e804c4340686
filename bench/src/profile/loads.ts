import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { helperProcesses, layerOf } from '@drakkar/lab';
import { type FleetHost, startFleet } from '../fleet/fleet.ts';
import { emptyHost, startSeededFleet } from '../fleet/seeded.ts';
import { blobSource } from '../fleet/source.ts';
import { pushDebian, pushLayers } from '../runner/images.ts';
import { flushDisks, imagesOf, inRootfs, readAll } from '../scenarios/fill.ts';

/** A hot path under load, again and again. */
export interface Load extends AsyncDisposable {
  /** Whose profiles are wanted, by what they are called. */
  readonly hosts: Readonly<Record<string, FleetHost>>;
  /** Pids of a native helper that has a part in it. */
  readonly helper: readonly number[];
  /** Prepares one turn. @returns what does it */
  prepare(turn: number): Promise<() => Promise<void>>;
}

/** @param environment of each daemon, by the number of its host */
export type StartLoad = (environment: (index: number) => Readonly<Record<string, string>>) => Promise<Load>;

const BLOB_BYTES = 256 * 1024 ** 2;
const PACKAGES = ['python3', 'python3-numpy'];
const COMMAND = ['python3', '-c', 'print("ready")'];

/** The same as the benchmarks of these names have. */
export const LOADS = { mirror, wire, build, fill } as const satisfies Record<string, StartLoad>;

async function mirror(environment: Parameters<StartLoad>[0]): Promise<Load> {
  const fleet = await startFleet({ hosts: 1, volumes: true, environment });
  const [host] = fleet.hosts as [FleetHost];
  const layer = layerOf(randomBytes(BLOB_BYTES), { compression: 'none' });
  const { reference } = await pushLayers(fleet.registry, [layer], {
    repository: 'bench/blob',
    tag: 'latest',
  });
  await host.client.pull({ image: reference });
  const { mirrorUrl } = await host.client.status();
  const url = `${mirrorUrl}/v2/bench/blob/blobs/${layer.digest}?ns=${fleet.registry.host}`;
  const curl = ['--silent', '--fail', '--noproxy', '*', '--output', '/dev/null', url];
  return {
    hosts: { daemon: host },
    helper: [],
    prepare: async () => async () => void (await promisify(execFile)('curl', curl)),
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
}

async function wire(environment: Parameters<StartLoad>[0]): Promise<Load> {
  const fleet = await startFleet({ hosts: 2, volumes: true, environment });
  const [giver, taker] = fleet.hosts as [FleetHost, FleetHost];
  const source = blobSource(fleet, BLOB_BYTES);
  return {
    hosts: { giver, taker },
    helper: [],
    async prepare(turn) {
      const { image } = await source.push(turn);
      await giver.client.pull({ image });
      return async () => void (await taker.client.pull({ image }));
    },
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
}

async function build(environment: Parameters<StartLoad>[0]): Promise<Load> {
  const fleet = await startFleet({ hosts: 1, volumes: true, environment });
  const [host] = fleet.hosts as [FleetHost];
  const { reference } = await pushDebian(fleet.registry, PACKAGES, COMMAND);
  return {
    hosts: { daemon: host },
    helper: [],
    prepare: async () => async () =>
      void (await host.client.buildSnapshot({ image: reference, rebuild: true })),
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
}

async function fill(environment: Parameters<StartLoad>[0]): Promise<Load> {
  const clients = [{ native: { backend: 'fanotify' }, volumes: { background: 'off' } }];
  const seeded = await startSeededFleet({ clients, environment });
  const [host] = seeded.clients as [FleetHost];
  const { makeImage, file } = await imagesOf(seeded, false);
  return {
    hosts: { daemon: host },
    helper: helperProcesses(dirname(host.stateDirectory)),
    async prepare() {
      await emptyHost(host);
      const image = await makeImage();
      await flushDisks();
      return () => inRootfs(host, image, async (rootfs) => void (await readAll(`${rootfs}/${file}`)));
    },
    [Symbol.asyncDispose]: () => seeded[Symbol.asyncDispose](),
  };
}
