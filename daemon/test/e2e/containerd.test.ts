import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type FaultyProxy,
  imageOf,
  layerOf,
  pushImage,
  type Registry,
  startContainerd,
  startFaultyProxy,
  startRegistry,
  tarArchive,
  temporaryDirectory,
} from '@drakkar/lab';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type Stack, startStack } from '../kit/stack.ts';

const MEBIBYTE = 1024 * 1024;
const ada = { user: 'ada', password: 'lovelace' };
const bob = { user: 'bob', password: 'builder' };
const basic = ({ user, password }: typeof ada) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

const layers = [3, 12].map((mebibytes) =>
  layerOf(tarArchive([{ name: `file-${mebibytes}`, data: randomBytes(mebibytes * MEBIBYTE) }]), {
    compression: 'none',
  }),
);
const image = imageOf({ layers });
const bigLayer = layers[1]?.digest ?? '';

let open: { registry: Registry; proxy: FaultyProxy };
let closed: { registry: Registry; proxy: FaultyProxy };

beforeAll(async () => {
  const registry = await startRegistry();
  open = { registry, proxy: await startFaultyProxy(registry.url) };
  await pushImage(registry.url, image, { repository: 'library/thing', tag: 'v1' });
  const locked = await startRegistry({ users: { ada: ada.password, bob: bob.password } });
  closed = { registry: locked, proxy: await startFaultyProxy(locked.url) };
  await pushImage(locked.url, image, {
    repository: 'library/thing',
    tag: 'v1',
    headers: { authorization: basic(ada) },
  });
});
afterAll(async () => {
  for (const { registry, proxy } of [open, closed]) {
    await proxy[Symbol.asyncDispose]();
    await registry.stop();
  }
});
beforeEach(() => {
  open.proxy.fault = () => undefined;
});

/** A containerd whose `hosts.toml` names the mirror first and the registry as the fallback. */
async function containerdBehind(stack: Stack, host: string) {
  await using parts = new AsyncDisposableStack();
  const hosts = parts.use(await temporaryDirectory('hosts'));
  await mkdir(join(hosts.path, host));
  await writeFile(
    join(hosts.path, host, 'hosts.toml'),
    `server = "http://${host}"\n[host."${stack.mirror.url}"]\n  capabilities = ["pull", "resolve"]\n`,
  );
  const containerd = parts.use(await startContainerd({ hostsDirectory: hosts.path }));
  const running = parts.move();
  return {
    pull: (login?: typeof ada) =>
      containerd.pull(
        `${host}/library/thing:v1`,
        login === undefined ? {} : { user: `${login.user}:${login.password}` },
      ),
    content: () => containerd.ctr(['content', 'ls', '--quiet']),
    check: () => containerd.ctr(['images', 'check']),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

const isOurs = (headers: Record<string, unknown>) => String(headers['user-agent']).startsWith('drakkar/');

test('containerd pulls everything through the mirror, and upstream is read once', async () => {
  await using stack = await startStack();
  const strangers = new Set<string>();
  open.proxy.fault = ({ headers, path }) => {
    if (!isOurs(headers)) strangers.add(path);
    return undefined;
  };
  const before = open.proxy.bytes('/blobs/');
  for (const _ of ['cold', 'warm']) {
    await using containerd = await containerdBehind(stack, open.proxy.host);
    await containerd.pull();
    expect(await containerd.check()).toContain('complete');
  }
  expect([...strangers]).toEqual([]);
  const sizes = [...layers, image.config].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  expect(open.proxy.bytes('/blobs/') - before).toBe(sizes);
});

test('a mirror that dies in the middle of a blob: containerd goes on with the registry', async () => {
  await using stack = await startStack({ upstream: { idleTimeoutMs: 60_000 } });
  open.proxy.fault = ({ headers, path, method }) =>
    isOurs(headers) && method === 'GET' && path.includes(bigLayer)
      ? { kind: 'stall', afterBytes: MEBIBYTE }
      : undefined;
  const before = open.proxy.bytes(bigLayer);
  await using containerd = await containerdBehind(stack, open.proxy.host);
  const pulling = containerd.pull();
  await vi.waitUntil(() => open.proxy.bytes(bigLayer) - before >= MEBIBYTE, { timeout: 60_000 });
  await stack.mirror.close();
  await pulling;
  expect(await containerd.check()).toContain('complete');
});

test('upstream that breaks for the mirror in every body: containerd recovers from the registry itself', async () => {
  await using stack = await startStack({ upstream: { tries: 2 } });
  open.proxy.fault = ({ headers, path, method }) =>
    isOurs(headers) && method === 'GET' && path.includes(bigLayer)
      ? { kind: 'cut', afterBytes: 100_000 }
      : undefined;
  await using containerd = await containerdBehind(stack, open.proxy.host);
  await containerd.pull();
  expect(await containerd.check()).toContain('complete');
});

test('upstream that breaks for everybody: the pull fails, and nothing short is taken for whole', async () => {
  await using stack = await startStack({ upstream: { tries: 2 } });
  open.proxy.fault = ({ path, method }) =>
    method === 'GET' && path.includes(bigLayer) ? { kind: 'cut', afterBytes: 0 } : undefined;
  await using containerd = await containerdBehind(stack, open.proxy.host);
  await expect(containerd.pull()).rejects.toThrow();
  expect(await containerd.content()).not.toContain(bigLayer);
});

test('a private image: for who may have it, for nobody else, whoever came first', async () => {
  await using stack = await startStack();
  const { proxy } = closed;
  // docker-registry knows no rights per repository: bob's end before it, as at a gateway.
  proxy.fault = ({ headers, path }) =>
    headers.authorization === basic(bob) && path !== '/v2/' ? { kind: 'status', status: 403 } : undefined;
  const attempt = async (login?: typeof ada): Promise<boolean> => {
    await using containerd = await containerdBehind(stack, proxy.host);
    return await containerd.pull(login).then(
      () => true,
      () => false,
    );
  };
  expect(await attempt()).toBe(false);
  expect(await attempt(ada)).toBe(true);
  expect(await attempt(bob)).toBe(false);
  expect(await attempt({ ...ada, password: 'wrong' })).toBe(false);
  const before = proxy.bytes('/blobs/');
  expect(await attempt(ada)).toBe(true);
  expect(proxy.bytes('/blobs/')).toBe(before);
});
