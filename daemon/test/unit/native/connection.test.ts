import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { nativeHelper } from '../../../src/native.ts';

/** Something at the helper's socket that answers each chunk of bytes as told. */
async function something(answer: (bytes: Buffer, socket: Socket) => void) {
  const directory = await temporaryDirectory('native');
  const path = join(directory.path, 'native.sock');
  const server = createServer((socket) => {
    socket.on('error', () => {}).on('data', (bytes) => answer(bytes, socket));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const dispose = async () => {
    server.close();
    await directory[Symbol.asyncDispose]();
  };
  const connections = () => new Promise<number>((done) => server.getConnections((_, count) => done(count)));
  return { path, connections, [Symbol.asyncDispose]: dispose };
}

function frame(text: string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(Buffer.byteLength(text));
  return Buffer.concat([head, Buffer.from(text)]);
}

test('an answer that is no JSON, or too long, ends the connection and not the daemon', async () => {
  const tooLong = Buffer.from([0x7f, 0xff, 0xff, 0xff]);
  for (const answer of [frame('{"version":'), frame(''), tooLong]) {
    await using at = await something((_, socket) => socket.write(answer));
    await using helper = nativeHelper(at.path);
    await expect(helper.volumes()).rejects.toMatchObject({ code: 'unavailable' });
  }
});

test('a caller who leaves while the connection is made ends its own call only', async () => {
  const greeting = Promise.withResolvers<void>();
  await using at = await something((bytes, socket) => {
    const text = bytes.toString('latin1');
    const id = /"id":(\d+)/.exec(text)?.[1];
    if (id !== undefined) socket.write(frame(`{"id":${id},"result":[]}`));
    else greeting.promise.then(() => socket.write(frame('{"version":1}')));
  });
  await using helper = nativeHelper(at.path);
  const leaving = new AbortController();
  const first = expect(helper.volumes({ signal: leaving.signal })).rejects.toMatchObject({
    code: 'cancelled',
  });
  const second = helper.volumes();
  await expect.poll(at.connections).toBe(1);
  leaving.abort();
  greeting.resolve();
  await first;
  expect(await second).toEqual([]);
  expect(await at.connections()).toBe(1);
});

test('a helper that has been there is waited for, and one that never was is not', async () => {
  let isDown = false;
  await using at = await something((bytes, socket) => {
    if (isDown) {
      socket.destroy();
      return;
    }
    const id = /"id":(\d+)/.exec(bytes.toString('latin1'))?.[1];
    socket.write(frame(id === undefined ? '{"version":2,"pid":1,"worker":2}' : `{"id":${id},"result":[]}`));
  });
  await using helper = nativeHelper(at.path);
  expect(await helper.volumes()).toEqual([]);
  isDown = true;
  const waiting = helper.volumes();
  const refused = nativeHelper(at.path).volumes();
  await expect(refused).rejects.toMatchObject({ code: 'unavailable' });
  const leaving = new AbortController();
  const left = expect(helper.volumes({ signal: leaving.signal })).rejects.toBeDefined();
  leaving.abort();
  await left;
  isDown = false;
  expect(await waiting).toEqual([]);
});
