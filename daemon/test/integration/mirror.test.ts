import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type FaultyProxy, type Registry, startFaultyProxy, startRegistry } from '@drakkar/lab';
import { digestOf, MEDIA_TYPES } from '@drakkar/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { newReceipt } from '../../src/content/index.ts';
import { createRegistryClient } from '../../src/upstream/index.ts';
import {
  HASTY,
  pushRandomImage,
  randomBlob,
  type Stack,
  startStack,
  type TestBlob,
  type TestImage,
} from '../kit/stack.ts';

const MEBIBYTE = 1024 * 1024;

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
  /** The body ended as it should: with all the bytes that the headers announced. */
  readonly whole: boolean;
}

/** What a careful client sees, broken bodies included. */
function ask(url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      const parts: Buffer[] = [];
      const done = () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(parts),
          whole: response.complete,
        });
      response.on('data', (chunk: Buffer) => parts.push(chunk));
      response.on('error', () => {});
      response.on('close', done);
    });
    sent.on('error', reject);
    sent.end();
  });
}

const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

describe('a public image', () => {
  let registry: Registry;
  let proxy: FaultyProxy;
  let stack: Stack;
  let image: TestImage;
  let layer: TestBlob;
  let time = 1_000_000;

  beforeAll(async () => {
    registry = await startRegistry();
    proxy = await startFaultyProxy(registry.url);
    layer = randomBlob(5 * MEBIBYTE + 17);
    using client = createRegistryClient(HASTY);
    image = await pushRandomImage(client, { registry: proxy.host, repository: 'library/thing' }, 'v1', [
      layer,
    ]);
    await pushRandomImage(client, { registry: proxy.host, repository: 'other/thing' }, 'v1', [
      randomBlob(10),
    ]);
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await registry.stop();
  });
  beforeEach(async () => {
    proxy.fault = () => undefined;
    stack = await startStack({ now: () => time, upstream: { tries: 2 } });
  });
  afterEach(async () => {
    proxy.resume();
    await stack[Symbol.asyncDispose]();
  });

  const url = (path: string, repository = 'library/thing') =>
    `${stack.mirror.url}/v2/${repository}/${path}?ns=${proxy.host}`;

  test('manifests and blobs are exactly the registry’s, by HEAD and GET, cold and warm', async () => {
    for (const reference of ['v1', image.manifestDigest, 'v1']) {
      const head = await ask(url(`manifests/${reference}`), {}, 'HEAD');
      const get = await ask(url(`manifests/${reference}`));
      for (const { status, headers } of [head, get]) {
        expect(status).toBe(200);
        expect(headers).toMatchObject({
          'content-type': MEDIA_TYPES.ociManifest,
          'content-length': String(image.manifest.length),
          'docker-content-digest': image.manifestDigest,
        });
      }
      expect(get.body.equals(image.manifest)).toBe(true);
    }
    for (const _ of ['cold', 'warm']) {
      const head = await ask(url(`blobs/${layer.digest}`), {}, 'HEAD');
      expect(head.headers['content-length']).toBe(String(layer.sizeBytes));
      const get = await ask(url(`blobs/${layer.digest}`), { 'accept-encoding': 'zstd, gzip, deflate' });
      expect(get.status).toBe(200);
      expect(get.headers['content-encoding']).toBeUndefined();
      expect(get.body.equals(layer.bytes)).toBe(true);
    }
  });

  test('ranges are exact', async () => {
    for (const _ of ['cold', 'warm']) {
      const part = await ask(url(`blobs/${layer.digest}`), { range: 'bytes=1048570-2097160' });
      expect(part.status).toBe(206);
      expect(part.headers['content-range']).toBe(`bytes 1048570-2097160/${layer.sizeBytes}`);
      expect(part.body.equals(layer.bytes.subarray(1048570, 2097161))).toBe(true);
      const tail = await ask(url(`blobs/${layer.digest}`), { range: 'bytes=-5' });
      expect(tail.body.equals(layer.bytes.subarray(-5))).toBe(true);
      const beyond = await ask(url(`blobs/${layer.digest}`), { range: `bytes=${layer.sizeBytes}-` });
      expect(beyond.status).toBe(416);
      expect(beyond.headers['content-range']).toBe(`bytes */${layer.sizeBytes}`);
    }
  });

  test('many readers, ranged or not, cost one upstream read', async () => {
    const before = proxy.bytes(layer.digest);
    const gets = proxy.requests(`GET /v2/library/thing/blobs/${layer.digest}`);
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, number) => {
        const start = number * 100_000;
        return number % 4 === 0
          ? ask(url(`blobs/${layer.digest}`)).then(({ body }) => body.equals(layer.bytes))
          : ask(url(`blobs/${layer.digest}`), { range: `bytes=${start}-${start + 999_999}` }).then(
              ({ body }) => body.equals(layer.bytes.subarray(start, start + 1_000_000)),
            );
      }),
    );
    expect(answers.every(Boolean)).toBe(true);
    expect(proxy.bytes(layer.digest) - before).toBe(layer.sizeBytes);
    expect(proxy.requests(`GET /v2/library/thing/blobs/${layer.digest}`) - gets).toBe(1);
  });

  test('what is not here is a 404, in whatever way it is not', async () => {
    const missing = digestOf('missing');
    for (const path of [
      url('manifests/none'),
      url(`blobs/${missing}`),
      url('tags/list'),
      url('blobs/sha256:123'),
      url('manifests/v1', '../etc'),
      `${stack.mirror.url}/v2/library/thing/manifests/v1?ns=not%20a%20host`,
      `${stack.mirror.url}/else`,
    ]) {
      expect((await ask(path)).status).toBe(404);
    }
    expect((await ask(url('manifests/v1'), {}, 'POST')).status).toBe(405);
    expect((await ask(`${stack.mirror.url}/v2/`)).status).toBe(200);
  });

  test('a digest is served only under a repository that it belongs to', async () => {
    expect((await ask(url(`blobs/${layer.digest}`))).status).toBe(200);
    expect((await ask(url(`blobs/${layer.digest}`, 'other/thing'))).status).toBe(404);
    expect((await ask(url('manifests/v1'))).status).toBe(200);
    expect((await ask(url(`manifests/${image.manifestDigest}`, 'other/thing'))).status).toBe(404);
  });

  describe('another registry, which says yes to everything', () => {
    let evil: FaultyProxy;
    const evilUrl = (path: string) => `${stack.mirror.url}/v2/library/thing/${path}?ns=${evil.host}`;
    beforeEach(async () => {
      evil = await startFaultyProxy('http://127.0.0.1:1', {
        fault: ({ method }) =>
          method === 'HEAD' ? { kind: 'status', status: 200 } : { kind: 'status', status: 404 },
      });
    });
    afterEach(() => evil[Symbol.asyncDispose]());

    test('gives nobody what is here from elsewhere', async () => {
      expect((await ask(url(`blobs/${layer.digest}`))).status).toBe(200);
      expect((await ask(url(`manifests/${image.manifestDigest}`))).status).toBe(200);
      for (const path of [`blobs/${layer.digest}`, `manifests/${image.manifestDigest}`]) {
        const { status, body } = await ask(evilUrl(path));
        expect({ path, status }).toEqual({ path, status: 404 });
        expect(body.includes(layer.bytes.subarray(0, 100))).toBe(false);
      }
    });

    test('neither holds up nor spoils what others get from theirs', async () => {
      const announced = { 'content-length': String(layer.sizeBytes) };
      const server = createServer((incoming, outgoing) => {
        outgoing.writeHead(200, announced);
        if (incoming.method === 'HEAD') outgoing.end();
        else outgoing.write(Buffer.alloc(2 * MEBIBYTE));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      const leaving = new AbortController();
      const held = fetch(`${stack.mirror.url}/v2/library/thing/blobs/${layer.digest}?ns=${host}`, {
        signal: leaving.signal,
      });
      try {
        expect((await held).status).toBe(200);
        expect((await ask(url(`blobs/${layer.digest}`))).status).toBe(404);
        leaving.abort();
        await expect.poll(() => ask(url(`blobs/${layer.digest}`)).then(({ status }) => status)).toBe(200);
        expect((await ask(url(`blobs/${layer.digest}`))).body.equals(layer.bytes)).toBe(true);
      } finally {
        server.closeAllConnections();
        server.close();
      }
    });

    test('does not empty the store by what it says of a size', async () => {
      expect((await ask(url(`blobs/${layer.digest}`))).status).toBe(200);
      await expect.poll(() => stack.store.stat(layer.digest)?.complete).toBe(true);
      const server = createServer((_, outgoing) => {
        outgoing.writeHead(200, { 'content-length': String(49 * 1024 ** 3) }).flushHeaders();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      try {
        const { status } = await ask(
          `${stack.mirror.url}/v2/library/thing/blobs/${digestOf('huge')}?ns=${host}`,
        );
        expect(status).toBe(502);
        expect(stack.store.stat(layer.digest)?.complete).toBe(true);
      } finally {
        server.closeAllConnections();
        server.close();
      }
    });
  });

  test('a reader that lags behind is told why a download failed', async () => {
    const wrong = Buffer.alloc(layer.sizeBytes, 7);
    proxy.fault = ({ path, method }) =>
      path.includes(layer.digest) && method === 'GET' ? { kind: 'body', bytes: wrong } : undefined;
    const name = { registry: proxy.host, repository: 'library/thing' };
    await using opened = await stack.content.open({ image: name, digest: layer.digest });
    await expect(
      stack.content.fetch({ image: name, digest: layer.digest }, newReceipt()),
    ).rejects.toMatchObject({ code: 'invalid_content' });
    await expect(opened.read(Buffer.alloc(10), 0)).rejects.toMatchObject({ code: 'invalid_content' });
  });

  test('a registry that says 429 or 408 never makes the mirror say so', async () => {
    for (const status of [408, 429, 500, 503, 504]) {
      proxy.fault = () => ({ kind: 'status', status });
      expect((await ask(url('manifests/v1'))).status).toBe(502);
      expect((await ask(url(`blobs/${layer.digest}`))).status).toBe(502);
    }
  });

  test('upstream that breaks for good in a body is an abrupt close, never a short clean body', async () => {
    proxy.fault = ({ path }) =>
      path.includes(layer.digest) ? { kind: 'cut', afterBytes: 100_000 } : undefined;
    // Where upstream breaks before we have said anything, the connection ends without headers: just as abrupt.
    const cut = await ask(url(`blobs/${layer.digest}`)).catch((error: NodeJS.ErrnoException) => error.code);
    expect(cut).toSatisfy((answer: typeof cut) =>
      typeof answer === 'object'
        ? answer.status === 200 && answer.headers['content-length'] === `${layer.sizeBytes}` && !answer.whole
        : answer === 'ECONNRESET',
    );
    proxy.fault = () => undefined;
    expect((await ask(url(`blobs/${layer.digest}`))).body.equals(layer.bytes)).toBe(true);
  });

  test('wrong bytes of the right length never end well, and are not kept', async () => {
    const wrong = Buffer.from(layer.bytes);
    wrong[1_000_000] = (wrong[1_000_000] ?? 0) ^ 1;
    proxy.fault = ({ path, method }) =>
      path.includes(layer.digest) && method === 'GET' ? { kind: 'body', bytes: wrong } : undefined;
    const answer = await ask(url(`blobs/${layer.digest}`));
    expect(answer.whole).toBe(false);
    await expect.poll(() => stack.store.stat(layer.digest)).toBeUndefined();
    expect(stack.store.usage().contentBytes).toBe(0);
    proxy.fault = () => undefined;
    expect((await ask(url(`blobs/${layer.digest}`))).body.equals(layer.bytes)).toBe(true);
  });

  test('a registry that tells no length is read all the same', async () => {
    proxy.fault = ({ method }) => (method === 'GET' ? { kind: 'chunked' } : undefined);
    const answer = await ask(url(`blobs/${layer.digest}`));
    expect(answer.headers['content-length']).toBe(String(layer.sizeBytes));
    expect(answer.body.equals(layer.bytes)).toBe(true);
  });

  test('with the registry away, what was allowed stays good for its grace, and tags for their age', async () => {
    await ask(url('manifests/v1'));
    await ask(url(`blobs/${layer.digest}`));
    proxy.interrupt();
    time += 120_000;
    const manifest = await ask(url('manifests/v1'));
    expect(manifest.body.equals(image.manifest)).toBe(true);
    expect((await ask(url(`blobs/${layer.digest}`))).body.equals(layer.bytes)).toBe(true);
    expect((await ask(url('manifests/v1'), basic('some', 'body'))).status).toBe(502);
    time += 2 * 3_600_000;
    expect((await ask(url('manifests/v1'))).status).toBe(502);
    expect((await ask(url(`blobs/${layer.digest}`))).status).toBe(502);
  });

  test('a tag is asked for again only after its time', async () => {
    const heads = () => proxy.requests('HEAD /v2/library/thing/manifests/v1');
    await ask(url('manifests/v1'), {}, 'HEAD');
    const first = heads();
    await ask(url('manifests/v1'), {}, 'HEAD');
    expect(heads()).toBe(first);
    time += 31_000;
    await ask(url('manifests/v1'), {}, 'HEAD');
    expect(heads()).toBe(first + 1);
  });

  test('a store without room is an error to the one request', async () => {
    await using tiny = await startStack({ store: { quotaBytes: MEBIBYTE } });
    const base = `${tiny.mirror.url}/v2/library/thing`;
    expect((await ask(`${base}/blobs/${layer.digest}?ns=${proxy.host}`)).status).toBe(502);
    expect((await ask(`${base}/manifests/v1?ns=${proxy.host}`)).status).toBe(200);
  });
});

describe('a private image', () => {
  test('is for those whom the registry lets have it, whatever the store holds', async () => {
    await using registry = await startRegistry({ users: { ada: 'lovelace', bob: 'builder' } });
    await using proxy = await startFaultyProxy(registry.url);
    // docker-registry knows no rights per repository: bob's end before it, as at a gateway.
    proxy.fault = ({ headers }) =>
      headers.authorization === basic('bob', 'builder').authorization
        ? { kind: 'status', status: 403 }
        : undefined;
    const name = { registry: proxy.host, repository: 'private/thing' };
    using writer = createRegistryClient({
      ...HASTY,
      credentials: { [proxy.host]: { username: 'ada', password: 'lovelace' } },
    });
    const layer = randomBlob(MEBIBYTE + 1);
    const image = await pushRandomImage(writer, name, 'v1', [layer]);
    await using stack = await startStack({
      upstream: { credentials: { [proxy.host]: { username: 'ada', password: 'lovelace' } } },
    });
    const paths = ['manifests/v1', `manifests/${image.manifestDigest}`, `blobs/${layer.digest}`];
    const statuses = (headers: Record<string, string>) =>
      Promise.all(
        paths.map(
          async (path) =>
            (await ask(`${stack.mirror.url}/v2/private/thing/${path}?ns=${proxy.host}`, headers)).status,
        ),
      );
    const challenge = await fetch(`${registry.url}/v2/`);
    for (const _ of ['cold', 'warm']) {
      const nobody = await ask(`${stack.mirror.url}/v2/private/thing/manifests/v1?ns=${proxy.host}`);
      expect(nobody.status).toBe(401);
      expect(nobody.headers['www-authenticate']).toBe(challenge.headers.get('www-authenticate'));
      expect(await statuses({})).toEqual([401, 401, 401]);
      expect(await statuses(basic('ada', 'wrong'))).toEqual([401, 401, 401]);
      expect(await statuses(basic('bob', 'builder'))).toEqual([403, 403, 403]);
      expect(await statuses(basic('ada', 'lovelace'))).toEqual([200, 200, 200]);
    }
  });
});
