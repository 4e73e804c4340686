import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { imageOf, layerOf, pushImage } from '@drakkar/lab';
import { type BlobName, fixedPieceLength, hexOf } from '@drakkar/protocol';
import type { Fleet, FleetHost } from '../../src/fleet/fleet.ts';

/** An image of one layer of random bytes. */
export interface Pushed {
  readonly image: string;
  readonly blob: BlobName;
  readonly content: Buffer;
}

export const MEBIBYTE = 2 ** 20;

let images = 0;

export async function push({ registry }: Pick<Fleet, 'registry'>, sizeBytes: number): Promise<Pushed> {
  images += 1;
  const content = randomBytes(sizeBytes);
  const layer = layerOf(content, { compression: 'none' });
  const repository = `kit/image-${images}`;
  await pushImage(registry.url, imageOf({ layers: [layer] }), { repository, tag: 'latest' });
  return {
    image: `${registry.host}/${repository}:latest`,
    blob: { digest: layer.digest, origin: registry.host },
    content,
  };
}

const UNTIL_MS = 60_000;

export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const endMs = Date.now() + UNTIL_MS; !(await holds()); await sleep(50)) {
    if (Date.now() > endMs) throw new Error(`this did not come to be within ${UNTIL_MS} ms`);
  }
}

export const isUp = async ({ client }: FleetHost): Promise<boolean> =>
  (await client.status()).swarm?.supernode.up === true;

/** All that a host has fetched since it was started, wherever from; what it has on its disk is told later. */
export async function fetchedBytes({ client }: FleetHost): Promise<number> {
  const { traffic, swarm } = await client.status();
  return traffic.upstreamBytes + (swarm?.receivedBytes ?? 0);
}

/** Begins some pulls. @returns them, when a host has fetched so many bytes of them */
export async function inTheMiddleOf<Pull extends Promise<unknown>>(
  host: FleetHost,
  bytes: number,
  begin: () => readonly Pull[],
): Promise<readonly Pull[]> {
  const before = await fetchedBytes(host);
  const pulls = begin();
  await until(async () => (await fetchedBytes(host)) - before >= bytes);
  return pulls;
}

/** Whether these hosts have every piece between them. */
export async function isSpread(hosts: readonly FleetHost[], { blob, content }: Pushed): Promise<boolean> {
  const hex = hexOf(blob.digest);
  const files = await Promise.all(
    hosts.map(({ stateDirectory }) =>
      readFile(join(stateDirectory, 'blobs', 'sha256', hex.slice(0, 2), hex)).catch(() => Buffer.alloc(0)),
    ),
  );
  const length = fixedPieceLength(content.length);
  for (let at = 0; at < content.length; at += length) {
    const piece = content.subarray(at, at + length);
    if (!files.some((file) => piece.equals(file.subarray(at, at + length)))) return false;
  }
  return true;
}
