import { cp, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SupernodeClient } from '@drakkar/client';
import { temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { startSupernode, supernodeConfiguration } from '../../src/index.ts';

/** What a supernode of the release before has kept. */
const BEFORE = join(import.meta.dirname, '../fixtures/one-before');

test('the state of the release before is taken over whole, once', async () => {
  await using directory = await temporaryDirectory('upgrade');
  const stateDirectory = join(directory.path, 'state');
  await cp(BEFORE, stateDirectory, { recursive: true });
  const expected = JSON.parse(await readFile(join(BEFORE, 'expected.json'), 'utf8'));
  const config = supernodeConfiguration.complete({
    stateDirectory,
    address: '127.0.0.1',
    port: 0,
    metrics: { port: 0 },
    api: { port: 0 },
    log: { level: 'error' },
  });
  for (const _ of ['upgraded', 'started again']) {
    await using supernode = await startSupernode(config);
    const client = new SupernodeClient({ socketPath: join(stateDirectory, 'admin.sock') });
    expect(supernode.status().clusterKey).toBe(expected.clusterKey);
    expect(supernode.joinToken).toBe(expected.joinToken);
    const hosts = await client.hosts();
    expect(Object.fromEntries(hosts.map(({ name, state }) => [name, state]))).toEqual({
      stays: 'away',
      revoked: 'revoked',
      quarantined: 'quarantined',
    });
    expect(hosts.find(({ name }) => name === 'stays')?.peer).toBe(expected.peers.stays);
    const { data } = await client.api.GET('/api/v1/snapshots/{digest}', {
      params: { path: { digest: expected.manifest } },
    });
    expect(data).toMatchObject({
      layout: expected.layout,
      prefetch: [{ device: 0, offset: 0, length: 4096 }],
    });
  }
  await expect(stat(join(stateDirectory, 'members.sqlite'))).rejects.toMatchObject({ code: 'ENOENT' });
});
