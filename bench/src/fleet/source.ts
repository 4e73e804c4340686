import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  buildContainerd2,
  type Containerd,
  type DebianLayer,
  debianImage,
  layerOf,
  layerOfFile,
  startContainerd,
  transferImage,
  writePlainHosts,
} from '@drakkar/lab';
import type { Digest } from '@drakkar/protocol';
import { freshLayers } from '../runner/fresh-layers.ts';
import { pushLayers } from '../runner/images.ts';
import type { Fleet, FleetHost } from './fleet.ts';

/** What a fleet is given, fresh each time, and how a host gets it. */
export interface Source extends AsyncDisposable {
  push(
    round: number | string,
  ): Promise<{ readonly image: string; readonly layers: readonly Digest[]; readonly sizeBytes: number }>;
  /** Returns when the host has all of it. */
  fetch(host: FleetHost, image: string): Promise<void>;
}

/** Together eleven layers and some 300 MB. */
const PACKAGES = [['python3'], ['python3', 'python3-numpy'], ['nodejs'], ['perl', 'git']] as const;

/** An image of one layer of random bytes, which daemons pull. */
export function blobSource({ registry }: Fleet, sizeBytes: number): Source {
  return {
    async push(round) {
      const repository = `bench/blob-${round}`;
      const layer = layerOf(randomBytes(sizeBytes), { compression: 'none' });
      const { reference } = await pushLayers(registry, [layer], { repository, tag: 'latest' });
      return { image: reference, layers: [layer.digest], sizeBytes };
    },
    async fetch(host, image) {
      await host.client.pull({ image });
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** A real image of many layers, which a containerd on each host fetches through the mirror there, into its own content store. */
export async function imageSource({ registry, hosts }: Fleet): Promise<Source> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp('/var/tmp/drakkar-image-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const layers: DebianLayer[] = [];
  for (const packages of PACKAGES) layers.push(...(await debianImage({ packages })).layers);
  const programs = await buildContainerd2();
  const containerds = new Map<
    FleetHost,
    { readonly containerd: Containerd; readonly hostsDirectory: string }
  >();
  for (const host of hosts) {
    const { mirrorUrl } = await host.client.status();
    const hostsDirectory = join(directory, `hosts-${host.index}`);
    await writePlainHosts(hostsDirectory, registry.host, mirrorUrl);
    const { place } = host;
    if (place === undefined) throw new Error('a host without a place');
    const containerd = stack.use(await startContainerd({ programs, within: place.within }));
    containerds.set(host, { containerd, hostsDirectory });
  }
  const running = stack.move();
  return {
    async push(round) {
      const fresh = await freshLayers(layers, directory);
      const repository = `bench/image-${round}`;
      const pushed = await pushLayers(registry, fresh.map(layerOfFile), { repository, tag: 'latest' });
      const { reference, sizeBytes } = pushed;
      return { image: reference, layers: fresh.map(({ digest }) => digest), sizeBytes };
    },
    async fetch(host, image) {
      const { containerd, hostsDirectory } = containerds.get(host) ?? {};
      if (containerd === undefined || hostsDirectory === undefined)
        throw new Error('a host of another fleet');
      const { address, namespace } = containerd;
      await transferImage({ address, namespace, reference: image, hostsDirectory });
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
