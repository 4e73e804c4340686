import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type FaultyProxy,
  startFaultyProxy,
  startWebServer,
  temporaryDirectory,
  type WebServer,
} from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ANYWHERE, type FilesStack, startFilesStack } from '../kit/files.ts';

const MEBIBYTE = 2 ** 20;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

let web: WebServer;
let proxy: FaultyProxy;
let count = 0;

beforeAll(async () => {
  web = await startWebServer();
  proxy = await startFaultyProxy(web.url);
});
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await web?.[Symbol.asyncDispose]();
});

async function put(sizeBytes: number): Promise<{ readonly name: string; readonly bytes: Buffer }> {
  count += 1;
  const [name, bytes] = [`file-${count}`, randomBytes(sizeBytes)];
  await web.put(name, bytes);
  return { name, bytes };
}

/** A server that does what no real one would. */
async function serve(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

const partials = (stack: FilesStack) => stack.store.list().filter(({ complete }) => !complete);

describe('a file', () => {
  test.each([
    ['with its sha256', 5 * MEBIBYTE + 1, true],
    ['without it', 5 * MEBIBYTE + 1, false],
    ['of one byte, without it', 1, false],
    ['of no byte, with its sha256', 0, true],
    ['of no byte, without it', 0, false],
  ])('%s comes into the store, right to the last byte', async (_, sizeBytes, isSaid) => {
    await using stack = await startFilesStack();
    const { name, bytes } = await put(sizeBytes);
    const result = await stack.get({
      url: `${web.url}/${name}`,
      ...(isSaid ? { sha256: sha256(bytes) } : {}),
    });
    expect(result).toMatchObject({
      digest: digestOf(bytes),
      content: digestOf(bytes),
      sizeBytes,
      receipt: { upstreamBytes: sizeBytes, storeBytes: 0, peerBytes: 0 },
    });
    expect((await stack.read(result)).equals(bytes)).toBe(true);
    expect(partials(stack)).toEqual([]);
  });

  test('is not fetched again while the server says that it is the same, and is when it is another', async () => {
    await using stack = await startFilesStack();
    const { name, bytes } = await put(MEBIBYTE);
    const url = `${web.url}/${name}`;
    await stack.get({ url });
    const again = await stack.get({ url });
    expect(again.receipt).toMatchObject({ upstreamBytes: 0, peerBytes: 0, storeBytes: bytes.length });
    expect(await web.sentBytes(name)).toBe(bytes.length);
    const other = randomBytes(2 * MEBIBYTE);
    await web.put(name, other);
    const newer = await stack.get({ url });
    expect(newer).toMatchObject({ digest: digestOf(other), receipt: { upstreamBytes: other.length } });
  });

  test('is served without its server to who says its sha256, and refused to who does not', async () => {
    await using server = await startWebServer();
    await using stack = await startFilesStack();
    await server.put('model', Buffer.alloc(MEBIBYTE, 1));
    const url = `${server.url}/model`;
    const { digest } = await stack.get({ url });
    await server.stop();
    const hex = digest?.slice('sha256:'.length) ?? '';
    await expect(stack.get({ url })).rejects.toMatchObject({
      code: 'unavailable',
      hint: expect.stringContaining(`--sha256 ${hex}`),
    });
    expect((await stack.get({ url, sha256: hex })).receipt.storeBytes).toBe(MEBIBYTE);
  });

  test('with another sha256 than was said is refused, and nothing of it is kept', async () => {
    await using stack = await startFilesStack();
    const { name, bytes } = await put(3 * MEBIBYTE);
    const wrong = stack.get({ url: `${web.url}/${name}`, sha256: sha256(Buffer.from('else')) });
    await expect(wrong).rejects.toMatchObject({
      code: 'invalid_content',
      message: expect.stringContaining(digestOf(bytes)),
      hint: expect.stringMatching(/^the --sha256 may be wrong/),
    });
    expect(stack.store.list()).toEqual([]);
  });

  test('larger than the store may hold is refused before it is fetched', async () => {
    await using stack = await startFilesStack({ store: { quotaBytes: MEBIBYTE } });
    const { name, bytes } = await put(2 * MEBIBYTE);
    for (const said of [{}, { sha256: sha256(bytes) }]) {
      await expect(stack.get({ url: `${web.url}/${name}`, ...said })).rejects.toMatchObject({
        code: 'limit_exceeded',
        hint: expect.stringContaining('store.quotaBytes'),
      });
    }
    expect(stack.store.list()).toEqual([]);
  });

  test.each(['/', '/whole/', '/nameless/'])(
    'is fetched over a connection that breaks, whatever the server can (%s)',
    async (place) => {
      await using stack = await startFilesStack();
      const { name, bytes } = await put(4 * MEBIBYTE);
      proxy.fault = ({ method, earlier }) =>
        method === 'GET' && earlier < 2 ? { kind: 'cut', afterBytes: MEBIBYTE * (earlier + 1) } : undefined;
      const result = await stack.get({ url: `${proxy.url}${place}${name}` });
      expect((await stack.read(result)).equals(bytes)).toBe(true);
      // Only what is known to be a part of the same is asked for.
      const sent = proxy.bytes(name);
      if (place === '/') expect(sent).toBeLessThan(4.5 * MEBIBYTE);
      else expect(sent).toBeGreaterThan(5 * MEBIBYTE);
      expect(partials(stack)).toEqual([]);
    },
  );

  test('is gone on with where an earlier daemon stopped, though nobody has said its sha256', async () => {
    const { name, bytes } = await put(8 * MEBIBYTE);
    const url = `${proxy.url}/${name}`;
    await using directory = await temporaryDirectory('files-again');
    proxy.fault = ({ method, headers }) =>
      method === 'GET' && headers.range === undefined
        ? { kind: 'stall', afterBytes: 6 * MEBIBYTE }
        : undefined;
    {
      await using stack = await startFilesStack({ directory: directory.path });
      const leaving = new AbortController();
      const stopped = stack.get({ url }, leaving.signal);
      await expect.poll(() => stack.content.traffic.upstreamBytes, { timeout: 20_000 }).toBe(6 * MEBIBYTE);
      leaving.abort();
      await expect(stopped).rejects.toMatchObject({ code: 'cancelled' });
    }
    const before = proxy.bytes(name);
    await using stack = await startFilesStack({ directory: directory.path });
    const result = await stack.get({ url });
    expect((await stack.read(result)).equals(bytes)).toBe(true);
    expect(proxy.bytes(name) - before).toBeLessThanOrEqual(3 * MEBIBYTE);
    expect(result.receipt.storeBytes).toBeGreaterThanOrEqual(5 * MEBIBYTE);
  });

  test('that becomes another while it is fetched is fetched anew, never as a mixture', async () => {
    await using stack = await startFilesStack();
    const { name } = await put(4 * MEBIBYTE);
    const newer = randomBytes(4 * MEBIBYTE);
    let isChanged = false;
    proxy.fault = ({ method, headers }) => {
      if (method !== 'GET' || isChanged) return undefined;
      if (headers.range === undefined) return { kind: 'cut', afterBytes: 2 * MEBIBYTE };
      return { kind: 'status', status: 503 };
    };
    const running = stack.get({ url: `${proxy.url}/${name}` });
    await expect.poll(() => proxy.bytes(name), { timeout: 20_000 }).toBeGreaterThanOrEqual(2 * MEBIBYTE);
    await web.put(name, newer, new Date(Date.now() + 60_000));
    isChanged = true;
    const result = await running;
    expect((await stack.read(result)).equals(newer)).toBe(true);
    expect(partials(stack)).toEqual([]);
  });

  test('whose digest the server says is compared with that', async () => {
    await using stack = await startFilesStack();
    const bytes = randomBytes(MEBIBYTE);
    let said = sha256(bytes);
    await using server = await serve((_, response) => {
      const digest = Buffer.from(said, 'hex').toString('base64');
      response.writeHead(200, { 'content-length': bytes.length, 'repr-digest': `sha-256=:${digest}:` });
      response.end(bytes);
    });
    expect((await stack.get({ url: server.url })).digest).toBe(digestOf(bytes));
    said = sha256(Buffer.from('else'));
    await expect(stack.get({ url: `${server.url}/lie` })).rejects.toMatchObject({ code: 'invalid_content' });
  });

  test('whose sha256 is said comes from mirrors that call it differently', async () => {
    await using stack = await startFilesStack();
    const bytes = randomBytes(3 * MEBIBYTE);
    let answers = 0;
    await using server = await serve((request, response) => {
      answers += 1;
      const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const headers = { etag: `"${answers}"`, 'content-length': bytes.length - start };
      if (request.method === 'HEAD') return void response.writeHead(200, headers).end();
      // Of another version than it has, no mirror gives a part.
      if (request.headers['if-range'] !== undefined) return void response.writeHead(200, headers).end(bytes);
      if (start === 0) {
        response.writeHead(200, headers).write(bytes.subarray(0, MEBIBYTE), () => response.destroy());
        return;
      }
      const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
      response.writeHead(206, { ...headers, 'content-range': range }).end(bytes.subarray(start));
    });
    const result = await stack.get({ url: `${server.url}/file`, sha256: sha256(bytes) });
    expect(result).toMatchObject({ digest: digestOf(bytes), receipt: { upstreamBytes: bytes.length } });
    expect(answers).toBeGreaterThan(1);
  });

  test('whose server falls silent comes from another that somebody names for the same sha256', async () => {
    await using stack = await startFilesStack();
    const bytes = randomBytes(5 * MEBIBYTE);
    const silent: ServerResponse[] = [];
    const asked: string[] = [];
    await using server = await serve((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(200, { etag: '"a"', 'content-length': bytes.length });
      if (request.method === 'HEAD' || request.url === '/good') return void response.end(bytes);
      response.write(bytes.subarray(0, 2 * MEBIBYTE));
      silent.push(response);
    });
    await using other = await serve((_, response) => {
      response.writeHead(200, { etag: '"b"', 'content-length': bytes.length }).end(bytes);
    });
    for (const url of [`${server.url}/good`, `${other.url}/file`]) {
      const first = stack.get({ url: `${server.url}/silent`, sha256: sha256(bytes) });
      await expect.poll(() => silent.length).toBeGreaterThan(0);
      const second = await stack.get({ url, sha256: sha256(bytes) });
      expect(second.receipt.upstreamBytes + second.receipt.storeBytes).toBe(bytes.length);
      expect((await stack.read(second)).equals(bytes)).toBe(true);
      expect((await first).digest).toBe(digestOf(bytes));
      silent.length = 0;
      stack.store.remove(second.digest ?? digestOf(bytes));
    }
    expect(asked).toContain('GET /good');
  });

  test('that two servers are silent about is given up in the end', async () => {
    await using stack = await startFilesStack();
    await using server = await serve((request, response) => {
      response.writeHead(200, { etag: '"a"', 'content-length': 5 * MEBIBYTE });
      if (request.method === 'HEAD') response.end();
      else response.write(Buffer.alloc(MEBIBYTE));
    });
    const wanted = ['one', 'two'].map((name) =>
      stack.get({ url: `${server.url}/${name}`, sha256: sha256(Buffer.from('never')) }),
    );
    for (const { status } of await Promise.allSettled(wanted)) expect(status).toBe('rejected');
  });

  test('that two ask for at once is told each of them where it came from', async () => {
    await using stack = await startFilesStack();
    const { name, bytes } = await put(5 * MEBIBYTE);
    const results = await Promise.all(
      [0, 1].map(() => stack.get({ url: `${web.url}/${name}`, sha256: sha256(bytes) })),
    );
    const receipts = results.map(({ receipt }) => receipt);
    expect(receipts.map(({ upstreamBytes }) => upstreamBytes).sort()).toEqual([0, bytes.length]);
    for (const { upstreamBytes, storeBytes, joinedBytes } of receipts) {
      expect(upstreamBytes + storeBytes + joinedBytes).toBe(bytes.length);
    }
  });

  test('of a server that knows neither HEAD nor sizes comes all the same', async () => {
    await using stack = await startFilesStack();
    const bytes = randomBytes(2 * MEBIBYTE);
    await using server = await serve((request, response) => {
      if (request.method === 'HEAD') response.writeHead(405).end();
      else response.writeHead(200, { etag: '"a"' }).end(bytes);
    });
    const result = await stack.get({ url: `${server.url}/file` });
    expect(result).toMatchObject({ digest: digestOf(bytes), sizeBytes: bytes.length });
    expect((await stack.read(result)).equals(bytes)).toBe(true);
  });

  test('that never ends is given up, and drives nothing else out of the store', async () => {
    await using stack = await startFilesStack({ store: { quotaBytes: 16 * MEBIBYTE } });
    const { name } = await put(8 * MEBIBYTE);
    await stack.get({ url: `${web.url}/${name}` });
    await using server = await serve((request, response) => {
      response.writeHead(200, { etag: '"a"' });
      if (request.method === 'HEAD') response.end();
      else new EndlessBody(response).begin();
    });
    await expect(stack.get({ url: `${server.url}/file` })).rejects.toMatchObject({ code: 'limit_exceeded' });
    expect(stack.store.list().map(({ sizeBytes }) => sizeBytes)).toEqual([8 * MEBIBYTE]);
  });

  test.each([
    ['less', -1],
    ['more', 1],
  ])('whose server says %s than it sends is never taken for whole', async (_, wrong) => {
    await using stack = await startFilesStack();
    const bytes = randomBytes(MEBIBYTE);
    await using server = await serve((request, response) => {
      const length = bytes.length + (request.method === 'HEAD' ? wrong : 0);
      response.writeHead(200, { etag: '"a"', 'content-length': length });
      response.end(request.method === 'HEAD' ? undefined : bytes);
    });
    await expect(stack.get({ url: `${server.url}/file` })).rejects.toMatchObject({ code: 'invalid_content' });
    expect(stack.store.list().filter(({ complete }) => complete)).toEqual([]);
  });

  test('that ends before what its server had said is called cut short, not another', async () => {
    await using stack = await startFilesStack();
    const bytes = randomBytes(MEBIBYTE);
    const said = bytes.length + 1000;
    await using server = await serve((request, response) => {
      const headers = { 'last-modified': 'Mon, 05 Jan 2026 10:00:00 GMT', 'content-length': said };
      if (request.headers.range !== undefined) {
        response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
        return;
      }
      response.writeHead(200, headers);
      if (request.method === 'HEAD') response.end();
      else response.write(bytes, () => response.destroy());
    });
    const url = `${server.url}/file?signature=hush`;
    for (const sha of [{}, { sha256: sha256(bytes) }]) {
      await expect(stack.get({ url, ...sha })).rejects.toMatchObject({
        code: 'invalid_content',
        message: `${server.url}/file has ${bytes.length} bytes, though its server had said ${said} bytes`,
        hint: expect.stringContaining('cut short'),
      });
    }
  });

  test('whose server says a length that none can have is refused at once', async () => {
    await using stack = await startFilesStack();
    await using server = await serve((request, response) => {
      response.writeHead(200, { 'content-length': String(2n ** 60n) });
      if (request.method === 'HEAD') response.end();
      else response.write('x');
    });
    const url = `${server.url}/file?signature=hush`;
    for (const said of [{}, { sha256: sha256(Buffer.from('x')) }]) {
      await expect(stack.get({ url, ...said })).rejects.toMatchObject({
        code: 'limit_exceeded',
        message: `${server.url}/file is said to have ${2n ** 60n} bytes`,
      });
    }
  });

  test('of unknown size that comes no further is named, and it is said what to look at', async () => {
    await using stack = await startFilesStack();
    await using server = await serve((request, response) => {
      response.writeHead(200, { etag: '"a"' });
      if (request.method === 'HEAD') response.end();
      else response.write('x');
    });
    await expect(stack.get({ url: `${server.url}/file?signature=hush` })).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringMatching(
        `^${server.url}/file broke off at byte 1: no byte of the body came within`,
      ),
      hint: expect.stringContaining('registries.idleTimeoutMs'),
    });
  });

  test.each([
    [404, 'not_found'],
    [401, 'unauthorized'],
    [403, 'forbidden'],
    [503, 'unavailable'],
    [418, 'unsupported'],
  ])('that is answered with %i is said to be so: %s', async (status, code) => {
    await using stack = await startFilesStack();
    await using server = await serve((_, response) => void response.writeHead(status).end());
    const url = `${server.url}/file?signature=hush`;
    for (const said of [{}, { sha256: sha256(Buffer.from('x')) }]) {
      await expect(stack.get({ url, ...said })).rejects.toMatchObject({
        code,
        message: expect.not.stringContaining('hush'),
      });
    }
  });
});

class EndlessBody {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  begin(): void {
    while (!this.#response.destroyed && this.#response.write(Buffer.alloc(MEBIBYTE / 4)));
    this.#response.once('drain', () => this.begin());
  }
}

describe('a part of a file', () => {
  test('is here before the rest is', async () => {
    await using stack = await startFilesStack();
    const { name, bytes } = await put(8 * MEBIBYTE);
    proxy.fault = ({ method }) =>
      method === 'GET' ? { kind: 'stall', afterBytes: 3 * MEBIBYTE } : undefined;
    const [startBytes, endBytes] = [MEBIBYTE + 5, 2 * MEBIBYTE];
    for (const said of [{}, { sha256: sha256(bytes) }]) {
      const result = await stack.get({ url: `${proxy.url}/${name}`, startBytes, endBytes, ...said });
      expect(result.sizeBytes).toBe(bytes.length);
      const part = await stack.read(result, startBytes, endBytes);
      expect(part.equals(bytes.subarray(startBytes, endBytes))).toBe(true);
    }
  });

  test('is read under the right digest when the whole has come meanwhile', async () => {
    await using stack = await startFilesStack();
    const { name, bytes } = await put(1000);
    const result = await stack.get({ url: `${web.url}/${name}`, startBytes: 10, endBytes: 20 });
    await expect
      .poll(() => stack.store.list().some(({ complete }) => complete), { timeout: 20_000 })
      .toBe(true);
    expect((await stack.read(result, 10, 20)).equals(bytes.subarray(10, 20))).toBe(true);
  });

  test('behind the end of the file is refused', async () => {
    await using stack = await startFilesStack();
    const { name } = await put(1000);
    const behind = stack.get({ url: `${web.url}/${name}`, startBytes: 1000 });
    await expect(behind).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('1000'),
    });
  });
});

describe('what the configuration does not allow', () => {
  test('is not asked: a private address, whoever names it', async () => {
    const { name } = await put(1000);
    const redirecting = await serve((_, response) => {
      response.writeHead(302, { location: `${web.url}/${name}` }).end();
    });
    await using server = redirecting;
    const host = new URL(server.url).host;
    await using stack = await startFilesStack({
      rules: { allow: ['http://*'], allowPrivate: [host, 'localhost:1'] },
    });
    for (const url of [`${web.url}/${name}`, `${server.url}/file`]) {
      await expect(stack.get({ url })).rejects.toMatchObject({
        code: 'forbidden',
        hint: expect.stringContaining('files.allowPrivate'),
      });
    }
    // A name, of which only the connection finds out where it leads.
    const named = stack.get({ url: `http://localhost:${new URL(web.url).port}/${name}` });
    await expect(named).rejects.toMatchObject({
      code: 'forbidden',
      hint: expect.stringContaining('files.allowPrivate'),
    });
    expect(await web.sentBytes(name)).toBe(0);
  });

  test('is not followed: redirects to elsewhere, and without end', async () => {
    await using server = await serve((request, response) => {
      const location = request.url === '/loop' ? '/loop' : 'https://example.invalid/file';
      response.writeHead(302, { location }).end();
    });
    await using stack = await startFilesStack({ rules: ANYWHERE });
    await expect(stack.get({ url: `${server.url}/away` })).rejects.toMatchObject({
      code: 'forbidden',
      hint: expect.stringContaining('files.allow'),
    });
    await expect(stack.get({ url: `${server.url}/loop` })).rejects.toMatchObject({ code: 'limit_exceeded' });
  });
});
