import { startFaultyProxy, startRegistry } from '@drakkar/lab';
import { afterEach, expect, test, vi } from 'vitest';
import { createRegistryClient } from '../../src/upstream/index.ts';
import { HASTY, pushRandomImage, randomBlob } from '../kit/stack.ts';

afterEach(() => vi.unstubAllEnvs());

test('HTTP_PROXY is used, and NO_PROXY goes past it', async () => {
  await using registry = await startRegistry();
  // Given a whole URL, as proxies are, it goes where that says.
  await using proxy = await startFaultyProxy('http://nowhere.invalid');
  using client = createRegistryClient(HASTY);
  const image = { registry: registry.host, repository: 'library/thing' };
  vi.stubEnv('http_proxy', proxy.url);
  vi.stubEnv('no_proxy', '');
  const { manifestDigest } = await pushRandomImage(client, image, 'v1', [randomBlob(1000)]);
  const seen = proxy.requests(`http://${registry.host}/v2/library/thing`);
  expect(seen).toBeGreaterThan(0);
  vi.stubEnv('no_proxy', '127.0.0.1');
  expect((await client.resolve(image, 'v1')).digest).toBe(manifestDigest);
  expect(proxy.requests(`http://${registry.host}/v2/library/thing`)).toBe(seen);
});
