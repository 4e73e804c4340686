import { generateKeyPairSync } from 'node:crypto';
import { peerIdOf } from '@drakkar/protocol';
import { startNode } from '@drakkar/wire';
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
