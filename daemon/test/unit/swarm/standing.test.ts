import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { clusterKeyName, digestOf, peerIdOf, signGrants } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { Standing } from '../../../src/swarm/standing.ts';

const newPeer = () => peerIdOf(generateKeyPairSync('ed25519').publicKey);
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

test('a grant is refused to another peer, and for another blob, each in its own words', async () => {
  await using directory = await temporaryDirectory('standing');
  const cluster = generateKeyPairSync('ed25519').privateKey;
  const token = { clusterKey: clusterKeyName(cluster), secret: 's'.repeat(32) };
  const standing = await Standing.open(join(directory.path, 'swarm.json'), newPeer(), token, log);
  const [peer, other] = [newPeer(), newPeer()];
  const blob = { digest: digestOf('blob'), origin: 'docker.io' };
  const [grant = ''] = signGrants([{ peer, ...blob, expiresAtMs: Date.now() + 60_000 }], cluster);
  standing.requireGrant(grant, peer, blob);
  const said = (message: string) => expect.objectContaining({ code: 'unauthorized', message });
  expect(() => standing.requireGrant(grant, other, blob)).toThrow(
    said(`this was given to another than ${other}`),
  );
  for (const wanted of [
    { ...blob, origin: 'ghcr.io' },
    { ...blob, digest: digestOf('else') },
  ])
    expect(() => standing.requireGrant(grant, peer, wanted)).toThrow(
      said(`the grant is for ${blob.digest} of docker.io, and not for ${wanted.digest} of ${wanted.origin}`),
    );
});
