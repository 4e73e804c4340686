import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SupernodeClient } from '@drakkar/client';
import { startRedis, temporaryDirectory } from '@drakkar/lab';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { requireRestored } from '../../src/backup/index.ts';
import { backUp, restore, type Supernode, startSupernode, supernodeConfiguration } from '../../src/index.ts';

let running: AsyncDisposableStack;
let path: string;
beforeEach(async () => {
  running = new AsyncDisposableStack();
  path = running.use(await temporaryDirectory('backup')).path;
});
afterEach(() => running[Symbol.asyncDispose]());

/** @param state where it keeps what it must not forget; in files of its own unless that is said */
const configOf = (stateDirectory: string, state = {}) =>
  supernodeConfiguration.complete({
    stateDirectory,
    state,
    address: '127.0.0.1',
    port: 0,
    metrics: { port: 0 },
    api: { port: 0 },
    log: { level: 'error' },
  });

async function start(
  name: string,
  state = {},
): Promise<{ supernode: Supernode; client: SupernodeClient; directory: string }> {
  const directory = join(path, name);
  const config = configOf(directory, state);
  const supernode = await startSupernode(config);
  running.use(supernode);
  return { supernode, client: new SupernodeClient({ socketPath: join(directory, 'admin.sock') }), directory };
}

test('a supernode that is backed up while it runs is the same one where it is restored', async () => {
  const first = await start('first');
  const job = await first.client.createJob({ kind: 'build', image: 'registry.example/app:1' });
  await first.client.createPolicy({ name: 'mine', images: ['**'] });
  const { text } = await first.client.createToken({ name: 'ci', role: 'operator' });
  await first.client.rotateKey();
  const file = join(path, 'backup.tar');
  expect((await backUp(configOf(first.directory), file)).files).toBeGreaterThan(4);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await expect(backUp(configOf(first.directory), file)).rejects.toMatchObject({ code: 'already_exists' });
  await expect(restore(file, configOf(first.directory), true)).rejects.toMatchObject({ code: 'busy' });
  const unmounted = join(path, 'unmounted');
  await expect(backUp(configOf(first.directory), join(unmounted, 'b.tar'))).rejects.toMatchObject({
    code: 'not_found',
    message: `there is no directory ${unmounted}`,
  });
  await expect(stat(unmounted)).rejects.toMatchObject({ code: 'ENOENT' });
  const { peer, clusterKey } = first.supernode.status();
  const { joinToken } = first.supernode;
  await first.supernode[Symbol.asyncDispose]();

  expect(await restore(file, configOf(join(path, 'second')), false)).toMatchObject({ aside: null });
  const second = await start('second');
  expect(second.supernode.status()).toMatchObject({ peer, clusterKey });
  expect(second.supernode.joinToken).toBe(joinToken);
  expect((await second.client.job(job.id)).spec).toEqual(job.spec);
  expect((await second.client.policies()).map(({ name }) => name)).toContain('mine');
  const remote = new SupernodeClient({ url: second.supernode.status().apiUrl, token: text });
  expect((await remote.status()).peer).toBe(peer);
});

test('what is there is put aside, and nothing is done with what is no backup', async () => {
  const { directory, supernode } = await start('state');
  await supernode[Symbol.asyncDispose]();
  const file = join(path, 'backup.tar');
  await backUp(configOf(directory), file);
  await expect(restore(file, configOf(directory), false)).rejects.toMatchObject({ code: 'already_exists' });
  const { aside } = await restore(file, configOf(directory), true);
  expect(await stat(join(aside ?? '', 'state.sqlite'))).toBeDefined();

  const bytes = await readFile(file);
  const bad = join(path, 'bad.tar');
  const target = join(path, 'target');
  for (const [what, damage] of [
    [
      'a byte of a key',
      () => Buffer.from(bytes.toString('latin1').replace('PRIVATE KEY', 'PRIVATE KEX'), 'latin1'),
    ],
    [
      'a path',
      () =>
        Buffer.from(bytes.toString('latin1').replaceAll('keys/cluster.pem', '../../cluster.pem'), 'latin1'),
    ],
    ['its end', () => bytes.subarray(0, bytes.length / 2)],
    ['everything', () => Buffer.from('not a tar')],
    ['nothing', () => Buffer.alloc(0)],
  ] as const) {
    await writeFile(bad, damage());
    await expect(restore(bad, configOf(target), false), what).rejects.toMatchObject({
      code: 'invalid_content',
    });
    await expect(stat(target), what).rejects.toMatchObject({ code: 'ENOENT' });
  }
  await expect(restore(join(path, 'none'), configOf(target), false)).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(backUp(configOf(join(path, 'nowhere')), join(path, 'x.tar'))).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('after a restore that was ended half way no other cluster begins, and what was there comes back', async () => {
  const { directory, supernode } = await start('state');
  const { clusterKey } = supernode.status();
  await supernode[Symbol.asyncDispose]();
  const file = join(path, 'backup.tar');
  await backUp(configOf(directory), file);
  const aside = `${directory}.before-1`;
  const restored = `${directory}.staging-abc/state`;
  await mkdir(restored, { recursive: true });
  await writeFile(`${directory}.restoring`, JSON.stringify({ restored, aside }));
  await expect(requireRestored(directory)).rejects.toMatchObject({ code: 'unavailable' });
  await rename(directory, aside);
  await expect(requireRestored(directory)).rejects.toMatchObject({ code: 'unavailable' });
  // As systemd does before it starts what it starts.
  await mkdir(directory);
  await expect(requireRestored(directory)).rejects.toMatchObject({ code: 'unavailable' });

  await expect(restore(file, configOf(directory), false)).rejects.toMatchObject({ code: 'already_exists' });
  await requireRestored(directory);
  expect((await readdir(path)).sort()).toEqual(['backup.tar', 'state']);
  await restore(file, configOf(directory), true);
  await requireRestored(directory);
  expect((await readdir(path)).filter((name) => /restoring|staging/.test(name))).toEqual([]);
  expect((await start('state')).supernode.status().clusterKey).toBe(clusterKey);
});

test('a restore that had only its mark left is one that was done', async () => {
  const { directory, supernode } = await start('state');
  await supernode[Symbol.asyncDispose]();
  await mkdir(`${directory}.before-1`);
  const swap = { restored: `${directory}.staging-abc/state`, aside: `${directory}.before-1` };
  await writeFile(`${directory}.restoring`, JSON.stringify(swap));
  await requireRestored(directory);
  await writeFile(`${directory}.restoring`, '{');
  await expect(requireRestored(directory)).rejects.toMatchObject({ code: 'unavailable' });
});

test('what several share in Redis is the same where it is restored: in a Redis that is empty, or without one', async () => {
  const redis = running.use(await startRedis());
  const shared = (keyPrefix: string) => ({ redis: { url: redis.url, keyPrefix } });
  const [first, second] = [await start('first', shared('ships')), await start('second', shared('ships'))];
  // Until it may ask the one that leads.
  const policies = () => second.client.policies().catch(() => []);
  await expect.poll(policies).not.toHaveLength(0);
  const job = await second.client.createJob({ kind: 'build', image: 'registry.example/app:1' });
  await second.client.createPolicy({ name: 'mine', images: ['**'] });
  const { text } = await second.client.createToken({ name: 'ci', role: 'operator' });
  const file = join(path, 'backup.tar');
  // The other one has just replaced the key, and this one has not taken it over yet.
  const tokens = () => [first, second].map(({ supernode }) => supernode.joinToken);
  const [before] = tokens();
  await second.client.rotateKey();
  await expect.poll(() => tokens().every((token, _, [one]) => token === one && token !== before)).toBe(true);
  const keys = join(first.directory, 'keys');
  for (const name of await readdir(keys)) if (name.startsWith('cluster-')) await rm(join(keys, name));
  await backUp(configOf(first.directory, shared('ships')), file);
  await expect(backUp(configOf(first.directory, shared('none')), `${file}.2`)).rejects.toMatchObject({
    code: 'not_found',
  });
  const { clusterKey } = first.supernode.status();
  const { joinToken } = first.supernode;
  await first.supernode[Symbol.asyncDispose]();
  await second.supernode[Symbol.asyncDispose]();

  const isTheSame = async ({ supernode, client }: Awaited<ReturnType<typeof start>>) => {
    expect(supernode.status().clusterKey).toBe(clusterKey);
    expect(supernode.joinToken).toBe(joinToken);
    await expect.poll(() => client.job(job.id).catch(() => undefined)).toMatchObject({ spec: job.spec });
    expect((await client.policies()).map(({ name }) => name)).toContain('mine');
    const remote = new SupernodeClient({ url: supernode.status().apiUrl, token: text });
    expect((await remote.status()).clusterKey).toBe(clusterKey);
  };
  // Whatever is asked for, what others may be at stays as it is.
  const taken = restore(file, configOf(first.directory, shared('ships')), true);
  await expect(taken).rejects.toMatchObject({ code: 'already_exists' });
  const { aside } = await restore(file, configOf(first.directory, shared('boats')), true);
  expect(await stat(join(aside ?? '', 'keys', 'peer.pem'))).toBeDefined();
  // In any order: Redis has it all.
  await isTheSame(await start('second', shared('boats')));
  await isTheSame(await start('first', shared('boats')));

  await restore(file, configOf(join(path, 'alone')), false);
  await redis.kill();
  await isTheSame(await start('alone'));
  const away = restore(file, configOf(join(path, 'away'), shared('more')), false);
  await expect(away).rejects.toMatchObject({ code: 'unavailable' });
  await expect(stat(join(path, 'away'))).rejects.toMatchObject({ code: 'ENOENT' });
});
