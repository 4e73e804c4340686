import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { Catalogue } from '../../../src/snapshots/catalogue.ts';
import { config, record } from '../../kit/records.ts';

test('what was put is found again after a restart: by manifest, by index, by name', async () => {
  await using directory = await temporaryDirectory('catalogue');
  const path = join(directory.path, 'snapshots.sqlite');
  {
    using catalogue = new Catalogue(path);
    catalogue.put(record('v1'));
    catalogue.put(record('v2', { createdAtMs: 2, origin: 'registry' }));
    catalogue.put(record('arm', { createdAtMs: 3, platform: 'linux/arm64' }));
  }
  using catalogue = new Catalogue(path);
  expect(catalogue.list().map(({ manifestDigest }) => manifestDigest)).toEqual(
    ['v1', 'v2', 'arm'].map((name) => digestOf(name)),
  );
  expect(catalogue.get(digestOf('v2'))).toMatchObject({ origin: 'registry', config: config('v2') });
  expect(catalogue.find(digestOf('index of v1'), 'linux/amd64')?.manifestDigest).toBe(digestOf('v1'));
  expect(catalogue.find(digestOf('index of v1'), 'linux/arm64')).toBeUndefined();
  expect(catalogue.find(digestOf('v1'), 'linux/amd64')?.manifestDigest).toBe(digestOf('v1'));
  catalogue.remove(digestOf('v2'));
  expect(catalogue.get(digestOf('v2'))).toBeUndefined();
});
