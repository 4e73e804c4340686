import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import {
  blobOf,
  freePort,
  type Image,
  type ImageLayer,
  imageOf,
  layerOf,
  listTree,
  pushBlob,
  pushManifest,
  type Registry,
  startFaultyProxy,
  startRegistry,
  type TarItem,
  tarArchive,
} from '@drakkar/lab';
import { digestOf, MEDIA_TYPES } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';
import { leftoversOf, NOTHING_LEFT } from '../kit/leftovers.ts';
import { chanceOf } from '../kit/random.ts';

const MEBIBYTE = 1024 * 1024;
const CONDITION = { timeout: 20_000, interval: 25 };
const isRoot = process.getuid?.() === 0;

const chance = chanceOf('bad input');
const good = layerOf(tarArchive([{ name: 'good', data: 'good' }]));
const items: TarItem[] = [
  { name: 'first', data: chance.bytes(100_000) },
  { name: 'second', data: chance.bytes(100_000) },
];
const tar = tarArchive(items);
const SECOND_HEADER_BYTES = 512 + 100_352;

/** A blob that is what its digest says, and yet no layer. */
function broken(content: Uint8Array, diffId = digestOf(tar)): ImageLayer {
  return { ...blobOf(content, MEDIA_TYPES.ociLayerGzip), diffId };
}

function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 0xff;
  return copy;
}

const plain = (bytes: Buffer) => broken(bytes, digestOf(bytes));

/** The bad layer lies on a good one. What must be said about it, besides its image, number and digest. */
const LAYERS: readonly { name: string; layer: ImageLayer; says: RegExp }[] = [
  { name: 'another diff id', layer: { ...layerOf(tar), diffId: digestOf('other') }, says: /unpacks to/ },
  { name: 'truncated gzip', layer: broken(gzipSync(tar).subarray(0, 90_000)), says: /gzip/ },
  { name: 'corrupt gzip', layer: broken(changed(gzipSync(tar), 60_000)), says: /gzip|unpacks to/ },
  { name: 'truncated zstd', layer: broken(zstdCompressSync(tar).subarray(0, 90_000)), says: /zstd/ },
  { name: 'garbage', layer: plain(chance.bytes(50_000)), says: /tar|header/ },
  { name: 'a truncated tar', layer: plain(tar.subarray(0, 150_000)), says: /"second".*ends|ends.*"second"/ },
  { name: 'a bad checksum', layer: plain(changed(tar, SECOND_HEADER_BYTES)), says: /checksum/ },
  {
    name: 'an absurd size',
    layer: plain(tarArchive([{ name: 'huge', size: 2 ** 50 }], { end: false })),
    says: /"huge"/,
  },
  { name: 'a bomb', layer: layerOf(Buffer.alloc(256 * MEBIBYTE)), says: /limit|bomb/ },
  {
    name: 'too many entries',
    layer: layerOf(tarArchive(Array.from({ length: 2000 }, (_, index) => ({ name: `${index}` })))),
    says: /entries/,
  },
];

describe.skipIf(!isRoot)('what is wrong with an image, a disk or a port (needs root)', () => {
  let registry: Registry;
  let host: Host;

  beforeAll(async () => {
    registry = await startRegistry();
    host = await startHost({
      snapshots: { maxEntries: 1000, maxRawBytes: '64MiB' },
      store: { quotaBytes: '128MiB' },
    });
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  /** Refused by `run` and by `snapshot build`, with nothing left of it; gives what people read. */
  async function expectRefused(on: Host, reference: string): Promise<string> {
    const before = (await on.client.snapshots()).length;
    const run = await on.drakkar('run', '--net', 'none', reference);
    expect(run.code).toBe(125);
    const { code, stderr } = await on.drakkar('snapshot', 'build', reference);
    expect(code).not.toBe(0);
    expect(stderr).toContain(reference);
    expect(stderr).not.toContain('defect');
    expect((await on.client.snapshots()).length).toBe(before);
    await expect.poll(() => leftoversOf(on), CONDITION).toEqual(NOTHING_LEFT);
    return stderr;
  }

  async function expectToRun(on: Host, image: Image, repository: string): Promise<void> {
    const reference = await push(registry, image, repository);
    const { code, stdout, stderr } = await on.drakkar('run', '--net', 'none', reference);
    expect({ stdout, code }, stderr).toEqual({ code: 0, stdout: 'ready\n' });
  }

  test.each(LAYERS)(
    'a layer with $name: image, layer and reason are named',
    async ({ name, layer, says }) => {
      const image = imageOf({ layers: [good, layer] });
      const reference = await push(registry, image, `bad/${name.replaceAll(' ', '-')}`);
      const words = await expectRefused(host, reference);
      expect(words).toContain(`layer 2 of 2 (${layer.digest}`);
      expect(words).toMatch(says);
    },
  );

  test('a layer whose bytes the registry has changed: that is said, not what they look like', async () => {
    const layer = plain(tar);
    const reference = await push(registry, imageOf({ layers: [good, layer] }), 'bad/bytes');
    await using proxy = await startFaultyProxy(registry.url, {
      fault: ({ path, method }) =>
        method === 'GET' && path.includes(layer.digest)
          ? { kind: 'body', bytes: changed(tar, SECOND_HEADER_BYTES) }
          : undefined,
    });
    const words = await expectRefused(host, reference.replace(registry.host, proxy.host));
    expect(words).toMatch(/layer 2 of 2: .*another digest/);
    expect(words).toContain('the registry or something before it is broken');
  });

  test('a manifest of 10,000 layers', async () => {
    const { manifest, config } = imageOf({ layers: Array.from({ length: 10_000 }, () => good) });
    const options = { repository: 'bad/layers' };
    for (const blob of [good, config]) await pushBlob(registry.url, blob, options);
    await pushManifest(registry.url, manifest, 'latest', options);
    expect(await expectRefused(host, `${registry.host}/bad/layers:latest`)).toMatch(/layers/);
  });

  test('an image that is not there, and a registry that is not', async () => {
    await expectRefused(host, `${registry.host}/no/such/image:latest`);
    const nobody = `127.0.0.1:${await freePort()}`;
    expect(await expectRefused(host, `${nobody}/any/image:latest`)).toContain(nobody);
  });

  test('paths and links that leave the root stay inside', async () => {
    const leaving = `${'../'.repeat(20)}var/tmp/drakkar-escaped`;
    const layer = layerOf(
      tarArchive([
        { name: leaving, data: 'by dots' },
        { name: 'out', type: '2', linkName: '/var/tmp' },
        { name: 'out/drakkar-escaped-too', data: 'by a link' },
      ]),
    );
    const reference = await push(registry, imageOf({ layers: [layer] }), 'bad/paths');
    expect(await host.drakkar('snapshot', 'build', reference)).toMatchObject({ code: 0 });
    const { path } = await host.client.mountSnapshot(reference);
    const tree = await listTree(path);
    await host.client.umountSnapshot(reference);
    expect([...tree.keys()].sort()).toEqual(
      ['.', 'out', 'var', 'var/tmp', 'var/tmp/drakkar-escaped', 'var/tmp/drakkar-escaped-too'].sort(),
    );
  });

  test('other images start as ever', () => expectToRun(host, shellImage(), 'good/after-all'));

  test('a quota that the image does not fit into', async () => {
    await using small = await startHost({ store: { quotaBytes: '80MiB' } });
    const layer = layerOf(tarArchive([{ name: 'large', data: chance.bytes(84 * MEBIBYTE) }]), {
      compression: 'none',
    });
    const reference = await push(registry, imageOf({ layers: [good, layer] }), 'bad/large');
    expect(await expectRefused(small, reference)).toMatch(/quota/);
    await expectToRun(small, shellImage(), 'good/small');
  });

  test('a disk that is full until there is room again, and one that is read-only', async () => {
    await using tight = await startHost();
    await Promise.all([tight.kill('daemon'), tight.kill('helper')]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'drakkar-test', tight.state]);
    try {
      await mkdir(join(tight.state, 'volumes'));
      await tight.start();
      const layer = layerOf(tarArchive([{ name: 'large', data: chance.bytes(30 * MEBIBYTE) }]), {
        compression: 'none',
      });
      const reference = await push(registry, imageOf({ layers: [good, layer] }), 'bad/disk');
      expect(await expectRefused(tight, reference)).toMatch(/space|full/);
      execFileSync('mount', ['-o', 'remount,size=96m', tight.state]);
      await expectToRun(tight, shellImage(), 'good/tight');
      await tight.client.umountSnapshot(`${registry.host}/good/tight:latest`);
      await Promise.all([tight.kill('daemon'), tight.kill('helper')]);
      execFileSync('mount', ['-o', 'remount,ro', tight.state]);
      await expect(tight.start()).rejects.toThrow(/read-only|writable/i);
    } finally {
      await Promise.all([tight.kill('daemon'), tight.kill('helper')]);
      execFileSync('umount', [tight.state]);
    }
  });

  test('a mirror port that somebody else has', async () => {
    const port = await freePort();
    await using other = await startHost({ mirror: { port } });
    await other.kill('daemon');
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    await expect(other.start()).rejects.toThrow(new RegExp(`${port}`));
    await other.kill('daemon');
    server.close();
    await other.start();
    expect((await other.client.status()).mirrorUrl).toContain(`${port}`);
  });
});
