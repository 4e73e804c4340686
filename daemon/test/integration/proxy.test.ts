import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { startFaultyProxy, startRegistry } from '@drakkar/lab';
import { afterEach, expect, test, vi } from 'vitest';
import { createRegistryClient } from '../../src/upstream/index.ts';
import { makeCertificate } from '../kit/certificate.ts';
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

/** A proxy that connects its callers with whom they name, and says with whom. */
async function startTunnel(): Promise<AsyncDisposable & { url: string; targets: string[] }> {
  const targets: string[] = [];
  const server = createServer().on('connect', (request, socket) => {
    const [host = '', port = ''] = (request.url ?? '').split(':');
    targets.push(request.url ?? '');
    const other = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connected\r\n\r\n');
      socket.pipe(other).pipe(socket);
    });
    for (const end of [socket, other])
      end.on('error', () => void [socket, other].map((one) => one.destroy()));
    other.on('close', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    targets,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

test('HTTPS goes through a proxy by CONNECT, and only what is checked end to end is believed', async () => {
  await using registry = await startRegistry();
  await using certificate = await makeCertificate('127.0.0.2');
  await using secure = await startFaultyProxy(registry.url, { address: '127.0.0.2', tls: certificate });
  await using tunnel = await startTunnel();
  const image = { registry: secure.host, repository: 'library/thing' };
  using plain = createRegistryClient(HASTY);
  const { manifestDigest } = await pushRandomImage(plain, { ...image, registry: registry.host }, 'v1', [
    randomBlob(100_000),
  ]);
  vi.stubEnv('https_proxy', tunnel.url);
  vi.stubEnv('no_proxy', '');
  using client = createRegistryClient({ ...HASTY, caFiles: [certificate.certificateFile] });
  expect((await client.resolve(image, 'v1')).digest).toBe(manifestDigest);
  expect(new Set(tunnel.targets)).toEqual(new Set([secure.host]));
  using doubtful = createRegistryClient(HASTY);
  await expect(doubtful.resolve(image, 'v1')).rejects.toMatchObject({
    hint: expect.stringContaining('caFiles'),
  });
});
