import { generateKeyPairSync } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { peerIdOf } from '@drakkar/protocol';
import { duplexOf, startNode } from '@drakkar/wire';
import { expect, test } from 'vitest';

const newKey = () => generateKeyPairSync('ed25519').privateKey;

test('a peer that answers where another is expected is said to be so, and what to set', async () => {
  await using there = await startNode({ key: newKey(), listen: [{ host: '127.0.0.1', port: 0 }] });
  await using here = await startNode({ key: newKey(), listen: [] });
  const expected = peerIdOf(generateKeyPairSync('ed25519').publicKey);
  const at = [{ host: '127.0.0.1', port: there.port }];
  await expect(here.open(expected, at, '/any', AbortSignal.timeout(10_000))).rejects.toMatchObject({
    code: 'unavailable',
    message: `another peer than ${expected} answers at 127.0.0.1:${there.port}`,
    hint: expect.stringContaining('swarm.supernode'),
  });
});

test('a stream carries both ways more than its window at once, and goes on when its reader comes late', async () => {
  const parts = Array.from({ length: 64 }, (_, index) => Buffer.alloc(128 * 1024, index));
  await using there = await startNode({ key: newKey(), listen: [{ host: '127.0.0.1', port: 0 }] });
  await using here = await startNode({ key: newKey(), listen: [] });
  await there.handle('/echo', async (stream) => {
    const echo = duplexOf(stream);
    await sleep(200);
    await pipeline(echo, echo);
  });
  const at = [{ host: '127.0.0.1', port: there.port }];
  const stream = duplexOf(await here.open(there.peer, at, '/echo', AbortSignal.timeout(10_000)));
  const [, back] = await Promise.all([pipeline(Readable.from(parts), stream, { end: true }), buffer(stream)]);
  expect(back.equals(Buffer.concat(parts))).toBe(true);
});
