import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AdminClient } from '../../src/client.ts';
import { exchange, parseHead } from '../../src/exchange.ts';

let directory: string;
let socketPath: string;
let server: Server | undefined;
const connections = new Set<Socket>();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'drakkar-client-'));
  socketPath = join(directory, 'admin.sock');
});

afterEach(async () => {
  for (const connection of connections) connection.destroy();
  connections.clear();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  server = undefined;
  await rm(directory, { recursive: true });
});

async function listen(other: Server): Promise<void> {
  server = other.on('connection', (connection) => void connections.add(connection));
  await new Promise<void>((resolve) => other.listen(socketPath, resolve));
}

/** Answers every connection with these bytes, and ends it unless it is to stay. */
const answering = (bytes: string, { stays = false } = {}) =>
  listen(
    createServer((connection) => {
      connection.once('data', () => (stays ? connection.write(bytes) : connection.end(bytes)));
    }),
  );

const get = async (signal?: AbortSignal) => {
  const { status, body } = await exchange({ socketPath, method: 'GET', path: '/', signal });
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  return { status, text: Buffer.concat(parts).toString() };
};

describe('an exchange with the daemon', () => {
  test('is understood by a real HTTP server, with and without a length', async () => {
    await listen(
      createHttpServer((request, response) => {
        if (request.method === 'POST') request.pipe(response);
        else response.writeHead(404, { 'content-length': 3 }).end('no!');
      }),
    );
    expect(await get()).toEqual({ status: 404, text: 'no!' });
    const body = { name: 'ü'.repeat(100_000) };
    const echo = await exchange({ socketPath, method: 'POST', path: '/', body });
    const parts: Buffer[] = [];
    for await (const part of echo.body) parts.push(part);
    expect(JSON.parse(Buffer.concat(parts).toString())).toEqual(body);
  });

  test.each([
    ['nothing', '', /ended the connection/],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le', /ended the connection/],
    ['a short body', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort', /ended the connection/],
    ['a long body', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlong', /not the daemon/],
    ['another protocol', 'SSH-2.0-OpenSSH\r\n\r\n', /not the daemon/],
    ['a head without end', `HTTP/1.1 200 OK\r\n${'x'.repeat(100_000)}`, /not the daemon/],
  ])('refuses %s', async (_, bytes, words) => {
    await answering(bytes);
    await expect(get()).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(words),
    });
  });

  test('an error that is no document keeps the daemon’s words', async () => {
    await answering('HTTP/1.1 500 Oops\r\n\r\nit broke');
    await expect(new AdminClient(socketPath).status()).rejects.toMatchObject({
      code: 'internal',
      message: 'the daemon answered 500: it broke',
    });
  });

  test('events that end without a result are an error', async () => {
    await answering('HTTP/1.1 200 OK\r\n\r\n{"type":"mark","mark":{"name":"resolved","atMs":1}}\n');
    const marks: unknown[] = [];
    const call = { onEvent: (event: unknown) => void marks.push(event) };
    await expect(new AdminClient(socketPath).pull({ image: 'x' }, call)).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(marks).toHaveLength(1);
  });

  test('is cancelled before, while it waits, and while it reads', async () => {
    await answering('HTTP/1.1 200 OK\r\n\r\nsome', { stays: true });
    await expect(get(AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' });
    const controller = new AbortController();
    const { body } = await exchange({ socketPath, method: 'GET', path: '/', signal: controller.signal });
    expect((await body.next()).value?.toString()).toBe('some');
    controller.abort();
    await expect(body.next()).rejects.toMatchObject({ code: 'cancelled' });
  });

  test('says what to do where nobody answers', async () => {
    await expect(get()).rejects.toMatchObject({
      code: 'unavailable',
      hint: 'start one with `drakkar up` (as root)',
    });
  });

  test('any head is understood or refused', () => {
    const near = fc
      .tuple(fc.constantFrom('HTTP/1.1 200', 'HTTP/1.0 404 x', ''), fc.string(), fc.string())
      .map(([line, name, value]) => `${line}\r\nContent-Length: ${name}\r\n${value}`);
    fc.assert(
      fc.property(fc.oneof(fc.string(), near), (head) => {
        try {
          const { status, lengthBytes } = parseHead(head, Buffer.alloc(0));
          expect(status).toBeGreaterThan(99);
          expect(lengthBytes ?? 0).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect(error).toMatchObject({ code: 'unavailable' });
        }
      }),
    );
  });
});
