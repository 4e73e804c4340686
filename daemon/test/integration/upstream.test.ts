import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import {
  type FaultyProxy,
  type Registry,
  startFaultyProxy,
  startRegistry,
  temporaryDirectory,
} from '@drakkar/lab';
import { digestOf, hostPlatform, MEDIA_TYPES, OCI_LIMITS, parseReference } from '@drakkar/protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createRegistryClient, type RegistryClient } from '../../src/upstream/index.ts';
import { HASTY, pushRandomImage, randomBlob, type TestImage } from '../kit/stack.ts';

const MEBIBYTE = 1024 * 1024;

describe('against a real registry', () => {
  let registry: Registry;
  let proxy: FaultyProxy;
  let client: RegistryClient;
  let image: TestImage;
  let name: { registry: string; repository: string };
  const layer = randomBlob(3 * MEBIBYTE + 123);

  beforeAll(async () => {
    registry = await startRegistry();
    proxy = await startFaultyProxy(registry.url);
    client = createRegistryClient(HASTY);
    name = { registry: proxy.host, repository: 'library/thing' };
    image = await pushRandomImage(client, name, 'v1', [layer]);
  });
  afterAll(async () => {
    client[Symbol.dispose]();
    await proxy[Symbol.asyncDispose]();
    await registry.stop();
  });
  beforeEach(() => {
    proxy.fault = () => undefined;
  });

  async function readAll(range = {}): Promise<Buffer> {
    const stream = await client.openBlob(name, layer.digest, range);
    const parts: Buffer[] = [];
    for await (const chunk of stream.chunks) parts.push(chunk);
    return Buffer.concat(parts);
  }

  test('blobs come no faster than is allowed', async () => {
    using slow = createRegistryClient({ ...HASTY, bytesPerSecond: 1024 });
    // The first chunk alone is allowed only after many seconds; without a limit it is here at once.
    const stream = await slow.openBlob(name, layer.digest, {}, { signal: AbortSignal.timeout(1_000) });
    await expect(stream.chunks.next()).rejects.toMatchObject({ code: 'cancelled' });
  });

  test('a pushed image is resolved by tag and by digest', async () => {
    const resolved = await client.resolve(name, 'v1');
    expect(resolved).toEqual({
      digest: image.manifestDigest,
      mediaType: MEDIA_TYPES.ociManifest,
      sizeBytes: image.manifest.length,
    });
    const whole = await client.resolveImage(parseReference(`${proxy.host}/library/thing:v1`), hostPlatform());
    expect(whole.manifestDigest).toBe(image.manifestDigest);
    expect(whole.manifestBytes.equals(image.manifest)).toBe(true);
  });

  test('a blob that is there is not sent again', async () => {
    expect(await client.pushBlob(name, layer.digest, layer.sizeBytes, { bytes: layer.bytes })).toBe(false);
  });

  test('a blob comes whole and in ranges', async () => {
    expect((await readAll()).equals(layer.bytes)).toBe(true);
    expect(
      (await readAll({ startBytes: 1000, endBytes: 5000 })).equals(layer.bytes.subarray(1000, 5000)),
    ).toBe(true);
    expect((await readAll({ startBytes: MEBIBYTE })).equals(layer.bytes.subarray(MEBIBYTE))).toBe(true);
  });

  test('a connection that breaks again and again is taken up where it broke', async () => {
    const before = proxy.bytes(layer.digest);
    proxy.fault = ({ path, method, headers }) =>
      method === 'GET' && path.includes(layer.digest) && headers.range === undefined
        ? { kind: 'cut', afterBytes: MEBIBYTE }
        : undefined;
    expect((await readAll()).equals(layer.bytes)).toBe(true);
    expect(proxy.bytes(layer.digest) - before).toBe(layer.sizeBytes);
  });

  test('a registry that stalls or trickles in the middle is left and asked again', async () => {
    for (const fault of [
      { kind: 'stall', afterBytes: MEBIBYTE },
      { kind: 'trickle', bytes: 10, everyMs: 20 },
    ] as const) {
      let faults = 0;
      proxy.fault = ({ method, path }) =>
        method === 'GET' && path.includes(layer.digest) && faults++ === 0 ? fault : undefined;
      expect((await readAll()).equals(layer.bytes)).toBe(true);
    }
  });

  test('a registry that always trickles, stalls or cuts is given up in bounded time', async () => {
    for (const fault of [
      { kind: 'stall', afterBytes: 10 },
      { kind: 'trickle', bytes: 1, everyMs: 20 },
      { kind: 'cut', afterBytes: 10 },
    ] as const) {
      proxy.fault = ({ method, path }) =>
        method === 'GET' && path.includes(layer.digest) ? fault : undefined;
      await expect(readAll()).rejects.toMatchObject({ message: expect.stringContaining(layer.digest) });
    }
  });

  test('a registry that never answers is a timeout', async () => {
    using hasty = createRegistryClient({ ...HASTY, answerTimeoutMs: 100, tries: 2 });
    proxy.fault = () => ({ kind: 'silence' });
    await expect(hasty.resolve(name, 'v1')).rejects.toMatchObject({ code: 'timeout' });
  });

  test('a registry is not blamed for the time in which others use all connections to it', async () => {
    const answerTimeoutMs = 100;
    using narrow = createRegistryClient({ ...HASTY, connectionsPerHost: 1, answerTimeoutMs, tries: 1 });
    const stream = await narrow.openBlob(name, layer.digest);
    const waiting = narrow.resolve(name, 'v1');
    await delay(3 * answerTimeoutMs);
    await stream.chunks.return();
    expect((await waiting).digest).toBe(image.manifestDigest);
  });

  test('429 and 503 are tried again, and Retry-After is heeded up to the cap', async () => {
    proxy.fault = ({ earlier, path }) =>
      path.includes('manifests/busy') && earlier < 2
        ? { kind: 'status', status: earlier === 0 ? 429 : 503, headers: { 'retry-after': '100000' } }
        : undefined;
    await expect(client.resolve(name, 'busy')).rejects.toMatchObject({ code: 'not_found' });
    expect(proxy.requests('HEAD /v2/library/thing/manifests/busy')).toBe(3);
  });

  test('a redirect loop ends', async () => {
    proxy.fault = ({ path }) => ({ kind: 'status', status: 307, headers: { location: path } });
    await expect(client.resolve(name, 'v1')).rejects.toMatchObject({ code: 'limit_exceeded' });
  });

  test('Authorization does not follow a redirect to another host', async () => {
    await using other = await startFaultyProxy(registry.url);
    let seen: string | undefined = 'not asked';
    other.fault = ({ headers }) => {
      seen = headers.authorization;
      return undefined;
    };
    proxy.fault = ({ path }) => ({ kind: 'status', status: 307, headers: { location: other.url + path } });
    const { digest } = await client.resolve(name, 'v1', { caller: 'Basic c2VjcmV0OnNlY3JldA==' });
    expect(digest).toBe(image.manifestDigest);
    expect(seen).toBeUndefined();
  });

  test('a signature in the URL that a redirect names is in no error', async () => {
    proxy.fault = () => ({
      kind: 'status',
      status: 307,
      headers: { location: 'http://127.0.0.1:1/blob?X-Signature=hush' },
    });
    const error: unknown = await client.openBlob(name, layer.digest).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('ECONNREFUSED') });
    expect(inspect(error, { depth: 5 })).not.toContain('hush');
  });

  test('an identity token does not follow a redirect to another host', async () => {
    await using other = await startFaultyProxy(registry.url);
    using trusting = createRegistryClient({
      ...HASTY,
      credentials: { [proxy.host]: { identityToken: 'hush' } },
    });
    proxy.fault = ({ path }) =>
      path.startsWith('/token')
        ? { kind: 'status', status: 307, headers: { location: `${other.url}/token` } }
        : {
            kind: 'status',
            status: 401,
            headers: { 'www-authenticate': `Bearer realm="${proxy.url}/token",service="test"` },
          };
    await expect(trusting.resolve(name, 'v1')).rejects.toMatchObject({ code: 'forbidden' });
    expect(proxy.requests('POST /token')).toBe(1);
    expect(other.requests('/token')).toBe(0);
  });

  test('wrong bytes under a digest are refused', async () => {
    const bytes = Buffer.from('{"schemaVersion":2}');
    proxy.fault = () => ({ kind: 'body', bytes });
    await expect(client.fetchManifest(name, image.manifestDigest)).rejects.toMatchObject({
      code: 'invalid_content',
    });
    await expect(client.fetchManifest(name, 'v1')).rejects.toMatchObject({ code: 'invalid_content' });
    await expect(client.fetchBlob(name, layer.digest, 4 * MEBIBYTE)).rejects.toMatchObject({
      code: 'invalid_content',
    });
  });

  test('a manifest of 100 MiB is refused before it is read, or as soon as it is too long', async () => {
    const bytes = Buffer.alloc(100 * MEBIBYTE, ' ');
    proxy.fault = () => ({ kind: 'body', bytes });
    await expect(client.fetchManifest(name, 'v1')).rejects.toMatchObject({ code: 'limit_exceeded' });
  });

  test('a manifest of 10,000 layers, an index that holds itself and one that nests deeply are refused', async () => {
    const descriptor = (digest: string, size: number, mediaType: string) => ({ mediaType, digest, size });
    const layers = Array.from({ length: 10_000 }, () => descriptor(layer.digest, 1, MEDIA_TYPES.ociLayer));
    const many = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: layers[0], layers }),
    );
    const serve = (documents: Record<string, Buffer>) => {
      proxy.fault = ({ path }) => {
        const bytes = documents[path.split('/').at(-1) ?? ''];
        if (bytes === undefined) return undefined;
        const isIndex = bytes.includes('"manifests"');
        const headers = {
          'content-type': isIndex ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest,
          'docker-content-digest': digestOf(bytes),
        };
        return { kind: 'body', bytes, headers };
      };
    };
    const resolve = () =>
      client.resolveImage(parseReference(`${proxy.host}/library/thing:v1`), hostPlatform());
    serve({ v1: many });
    await expect(resolve()).rejects.toMatchObject({ code: 'limit_exceeded' });

    const index = (manifests: object[]) =>
      Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }));
    let nested = index([]);
    const documents: Record<string, Buffer> = {};
    for (let depth = 0; depth <= OCI_LIMITS.indexDepth; depth += 1) {
      documents[digestOf(nested)] = nested;
      nested = index([descriptor(digestOf(nested), nested.length, MEDIA_TYPES.ociIndex)]);
    }
    serve({ ...documents, v1: nested });
    await expect(resolve()).rejects.toMatchObject({ code: 'limit_exceeded' });

    // A true cycle would need a sha256 fixpoint: a registry that tries shows another document under the digest.
    const self = index([descriptor(digestOf('x'), 10, MEDIA_TYPES.ociIndex)]);
    serve({ v1: self, [digestOf('x')]: self });
    await expect(resolve()).rejects.toMatchObject({ code: 'invalid_content' });
  });

  test('referrers are listed by the fallback tag, whoever writes them at the same time', async () => {
    const subject = {
      mediaType: MEDIA_TYPES.ociManifest,
      digest: image.manifestDigest,
      size: image.manifest.length,
    };
    const empty = Buffer.from('{}');
    await client.pushBlob(name, digestOf(empty), empty.length, { bytes: empty });
    const artifacts = Array.from({ length: 6 }, (_, number) =>
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MEDIA_TYPES.ociManifest,
          artifactType: number % 2 === 0 ? 'application/x.even' : 'application/x.odd',
          config: { mediaType: MEDIA_TYPES.ociEmpty, digest: digestOf(empty), size: empty.length },
          layers: [],
          subject,
          annotations: { number: String(number) },
        }),
      ),
    );
    await Promise.all(artifacts.map((bytes) => client.pushReferrer(name, bytes)));
    const all = await client.listReferrers(name, image.manifestDigest);
    expect(new Set(all.map(({ digest }) => digest))).toEqual(
      new Set(artifacts.map((bytes) => digestOf(bytes))),
    );
    const even = await client.listReferrers(name, image.manifestDigest, 'application/x.even');
    expect(even).toHaveLength(3);
    expect(await client.listReferrers(name, digestOf('nothing'))).toEqual([]);
  });

  describe('with a referrers API (scripted: the real registry has none)', () => {
    const entry = (number: number, artifactType = 'application/x.even') => ({
      mediaType: MEDIA_TYPES.ociManifest,
      digest: digestOf(`artifact ${number}`),
      size: number,
      artifactType,
    });
    const page = (manifests: object[], link?: string) => ({
      kind: 'body' as const,
      bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests })),
      headers: { 'content-type': MEDIA_TYPES.ociIndex, ...(link === undefined ? {} : { link }) },
    });

    test('all pages are read, and what is of another type is left out', async () => {
      const subject = digestOf('subject');
      proxy.fault = ({ path }) => {
        if (!path.startsWith(`/v2/library/thing/referrers/${subject}`)) return undefined;
        if (path.includes('last=1')) return page([entry(2, 'application/x.odd'), entry(3)]);
        return page([entry(1)], `<${path}&last=1>; rel="next"`);
      };
      const found = await client.listReferrers(name, subject, 'application/x.even');
      expect(found.map(({ size }) => size)).toEqual([1, 3]);
      expect(proxy.requests('referrers/')).toBeGreaterThan(1);
    });

    test('pages without end are read to a limit', async () => {
      const subject = digestOf('endless');
      const before = proxy.requests(`referrers/${subject}`);
      let number = 0;
      proxy.fault = ({ path }) => {
        number += 1;
        return path.includes('/referrers/')
          ? page([entry(number)], `</v2/library/thing/referrers/${subject}?last=${number}>; rel="next"`)
          : undefined;
      };
      expect(await client.listReferrers(name, subject)).toHaveLength(16);
      expect(proxy.requests(`referrers/${subject}`) - before).toBe(16);
    });

    test('a page of another kind is not read as one', async () => {
      proxy.fault = ({ path }) =>
        path.includes('/referrers/')
          ? { kind: 'body', bytes: Buffer.from('<html>'), headers: { 'content-type': 'text/html' } }
          : undefined;
      expect(await client.listReferrers(name, digestOf('nothing'))).toEqual([]);
    });

    test('a pushed artifact that the registry lists itself gets no fallback tag', async () => {
      const empty = Buffer.from('{}');
      await client.pushBlob(name, digestOf(empty), empty.length, { bytes: empty });
      const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf('somebody'), size: 8 };
      const artifact = {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        artifactType: 'application/x.even',
        config: { mediaType: MEDIA_TYPES.ociEmpty, digest: digestOf(empty), size: empty.length },
        layers: [],
        subject,
      };
      proxy.fault = ({ method, path }) =>
        method === 'PUT' && path.includes('/manifests/')
          ? { kind: 'body', bytes: Buffer.alloc(0), headers: { 'oci-subject': subject.digest } }
          : undefined;
      await client.pushReferrer(name, Buffer.from(JSON.stringify(artifact)));
      expect(proxy.requests(`/manifests/${subject.digest.replace(':', '-')}`)).toBe(0);
    });
  });

  test('registries that are not on the allowlist are not asked', async () => {
    using strict = createRegistryClient({ allow: ['*.example.com'] });
    await expect(strict.resolve(name, 'v1')).rejects.toMatchObject({ code: 'forbidden' });
  });
});

describe('credentials', () => {
  test('come from the options, from Docker’s configuration or from its helpers; a caller’s own wins', async () => {
    await using registry = await startRegistry({ users: { ada: 'lovelace' } });
    await using directory = await temporaryDirectory('docker-config');
    const name = { registry: registry.host, repository: 'private/thing' };
    const ada = { username: 'ada', password: 'lovelace' };
    const basic = Buffer.from('ada:lovelace').toString('base64');
    using writer = createRegistryClient({ ...HASTY, credentials: { [registry.host]: ada } });
    const image = await pushRandomImage(writer, name, 'v1', [randomBlob(1000)]);

    using nobody = createRegistryClient(HASTY);
    await expect(nobody.resolve(name, 'v1')).rejects.toMatchObject({
      code: 'unauthorized',
      details: { challenge: expect.stringContaining('Basic realm=') },
    });
    expect((await nobody.resolve(name, 'v1', { caller: `Basic ${basic}` })).digest).toBe(
      image.manifestDigest,
    );
    await expect(writer.resolve(name, 'v1', { caller: null })).rejects.toMatchObject({
      code: 'unauthorized',
    });
    await expect(writer.resolve(name, 'v1', { caller: 'Basic bm86bm8=' })).rejects.toMatchObject({
      code: 'unauthorized',
    });

    const file = join(directory.path, 'config.json');
    const bad = Buffer.from('ada:byron').toString('base64');
    for (const [key, path] of [
      [`https://${registry.host}/v1/`, '/public'],
      [`${registry.host}/private`, ''],
      [`${registry.host}/private`, '/other'],
    ] as const) {
      const auths = { [registry.host + path]: { auth: bad }, [key]: { auth: basic } };
      await writeFile(file, JSON.stringify({ auths }));
      using docker = createRegistryClient({ ...HASTY, dockerConfigFile: file });
      expect((await docker.resolve(name, 'v1')).digest).toBe(image.manifestDigest);
    }

    const helper = join(directory.path, 'docker-credential-test');
    await writeFile(
      helper,
      `#!/bin/sh\nread server\n[ "$server" = "${registry.host}" ] || { echo credentials not found in native keychain; exit 1; }\necho '{"Username":"ada","Secret":"lovelace"}'\n`,
    );
    await chmod(helper, 0o755);
    await writeFile(file, JSON.stringify({ credHelpers: { [registry.host]: 'test' } }));
    const path = process.env.PATH;
    process.env.PATH = `${directory.path}:${path}`;
    try {
      using helped = createRegistryClient({ ...HASTY, dockerConfigFile: file });
      expect((await helped.resolve(name, 'v1')).digest).toBe(image.manifestDigest);
    } finally {
      process.env.PATH = path;
    }
  });
});
