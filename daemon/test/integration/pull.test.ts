import { join } from 'node:path';
import { type Registry, startRegistry, temporaryDirectory } from '@drakkar/lab';
import { hostPlatform, MEDIA_TYPES } from '@drakkar/protocol';
import { expect, test, vi } from 'vitest';
import { pullImage } from '../../src/pull.ts';
import { Catalogue, Images, Work } from '../../src/snapshots/index.ts';
import { pushRandomImage, randomBlob, startStack } from '../kit/stack.ts';

const HOUR_MS = 3_600_000;
const SIZE_BYTES = 3 * 1024 * 1024 + 5;

/** A host that pulls from a registry. */
async function startPuller() {
  await using started = new AsyncDisposableStack();
  const registry: Registry = started.use(await startRegistry());
  const directory = started.use(await temporaryDirectory('pull'));
  const stack = started.use(await startStack({ upstream: { tries: 2 } }));
  const catalogue = started.use(new Catalogue(join(directory.path, 'snapshots.sqlite')));
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const { client, store } = stack;
  const images = new Images({ tagMaxAgeMs: HOUR_MS }, { registry: client, catalogue, store, log });
  const running = started.move();
  return {
    ...stack,
    registry,
    pull: (image: string) => pullImage({ image }, { ...stack, images }, new Work()),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** An image of one layer behind an index, as most are. */
async function pushIndexed({ client, registry }: Awaited<ReturnType<typeof startPuller>>) {
  const name = { registry: registry.host, repository: 'app' };
  const layer = randomBlob(SIZE_BYTES);
  const { manifest, manifestDigest } = await pushRandomImage(client, name, 'one', [layer]);
  const { mediaType, digest, size } = {
    mediaType: MEDIA_TYPES.ociManifest,
    digest: manifestDigest,
    size: manifest.length,
  };
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex };
  const manifests = [{ mediaType, digest, size, platform: hostPlatform() }];
  const bytes = Buffer.from(JSON.stringify({ ...index, manifests }));
  const { digest: indexDigest } = await client.pushManifest(name, 'v1', bytes, MEDIA_TYPES.ociIndex);
  return { image: `${registry.host}/app`, layer, manifestDigest, indexDigest };
}

test('what is whole in the store is pulled while its registry is away, by tag for a time and by digest always', async () => {
  await using puller = await startPuller();
  const { image, manifestDigest, indexDigest } = await pushIndexed(puller);
  expect(await puller.pull(`${image}:v1`)).toMatchObject({
    manifestDigest,
    tagAgeMs: null,
    receipt: { upstreamBytes: SIZE_BYTES, storeBytes: 0 },
  });
  await puller.registry.stop();
  const nowMs = Date.now();
  vi.useFakeTimers({ toFake: ['Date'], now: nowMs + HOUR_MS / 2 });
  try {
    const again = await puller.pull(`${image}:v1`);
    expect(again).toMatchObject({ manifestDigest, receipt: { upstreamBytes: 0, storeBytes: SIZE_BYTES } });
    expect(again.tagAgeMs).toBeGreaterThanOrEqual(HOUR_MS / 2);
    vi.setSystemTime(nowMs + 2 * HOUR_MS);
    await expect(puller.pull(`${image}:v1`)).rejects.toMatchObject({ code: 'unavailable' });
    for (const digest of [indexDigest, manifestDigest]) {
      expect(await puller.pull(`${image}@${digest}`)).toMatchObject({
        manifestDigest,
        tagAgeMs: null,
        receipt: { upstreamBytes: 0, storeBytes: SIZE_BYTES },
      });
    }
  } finally {
    vi.useRealTimers();
  }
  await expect(puller.pull(`${image}:never-seen`)).rejects.toMatchObject({ code: 'unavailable' });
});

test('what is not whole in the store needs the registry', async () => {
  await using puller = await startPuller();
  const { image, layer } = await pushIndexed(puller);
  await puller.pull(`${image}:v1`);
  puller.store.remove(layer.digest);
  await puller.registry.stop();
  await expect(puller.pull(`${image}:v1`)).rejects.toMatchObject({ code: 'unavailable' });
});

test('a tag that was pulled is known to the mirror', async () => {
  await using puller = await startPuller();
  const { image, indexDigest } = await pushIndexed(puller);
  await puller.pull(`${image}:v1`);
  expect(puller.store.findTag(puller.registry.host, 'app', 'v1')).toMatchObject({ digest: indexDigest });
});

test('manifests and config are taken from the registry that was named, not from another that had them', async () => {
  await using puller = await startPuller();
  const { image, manifestDigest } = await pushIndexed(puller);
  await puller.pull(`${image}:v1`);
  await using other = await startRegistry();
  await expect(puller.pull(`${other.host}/app@${manifestDigest}`)).rejects.toMatchObject({
    code: 'not_found',
  });
});
