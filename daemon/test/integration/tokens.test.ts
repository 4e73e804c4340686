import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startRegistry, startTokenServer, temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { createRegistryClient } from '../../src/upstream/index.ts';
import { HASTY, pushRandomImage, randomBlob, startStack } from '../kit/stack.ts';

test('a registry with tokens: each user and nobody get what the token server grants them, through the mirror, too', async () => {
  const users = { ada: 'lovelace', bob: 'builder' };
  await using tokens = await startTokenServer({
    users,
    identities: { 'bob’s machine': 'bob' },
    allows: (user, repository, action) =>
      user === 'ada' ||
      (action === 'pull' &&
        (repository.startsWith('public/') || (user === 'bob' && repository.startsWith('shared/')))),
  });
  await using registry = await startRegistry({ token: tokens.token });
  const clientOf = (user?: keyof typeof users) =>
    createRegistryClient({
      ...HASTY,
      credentials: user === undefined ? {} : { [registry.host]: { username: user, password: users[user] } },
    });
  using ada = clientOf('ada');
  using bob = clientOf('bob');
  using nobody = clientOf();
  const reach = async (client: typeof ada) => {
    const found = [];
    for (const folder of ['public', 'shared', 'private']) {
      const image = { registry: registry.host, repository: `${folder}/thing` };
      const seen = await client.resolve(image, 'v1').then(
        () => folder,
        (error) => error.code,
      );
      found.push(seen);
    }
    return found;
  };
  for (const folder of ['public', 'shared', 'private']) {
    await pushRandomImage(ada, { registry: registry.host, repository: `${folder}/thing` }, 'v1', [
      randomBlob(10),
    ]);
  }
  expect(await reach(ada)).toEqual(['public', 'shared', 'private']);
  expect(await reach(bob)).toEqual(['public', 'shared', 'unauthorized']);
  expect(await reach(nobody)).toEqual(['public', 'unauthorized', 'unauthorized']);

  await using home = await temporaryDirectory('docker-config');
  const dockerConfigFile = join(home.path, 'config.json');
  const auths = { [registry.host]: { auth: '', identitytoken: 'bob’s machine' } };
  await writeFile(dockerConfigFile, JSON.stringify({ auths }));
  using bobByToken = createRegistryClient({ ...HASTY, dockerConfigFile });
  expect(await reach(bobByToken)).toEqual(['public', 'shared', 'unauthorized']);

  await using stack = await startStack();
  const status = async (folder: string) => {
    const answer = await fetch(`${stack.mirror.url}/v2/${folder}/thing/manifests/v1?ns=${registry.host}`);
    return [answer.status, answer.headers.get('www-authenticate')?.includes(tokens.token.realm) ?? false];
  };
  expect(await status('public')).toEqual([200, false]);
  expect(await status('private')).toEqual([401, true]);
});

test('a registry with tokens: what a caller of the mirror has shown the daemon may show, for that repository and nowhere else', async () => {
  await using tokens = await startTokenServer({
    users: { ada: 'lovelace' },
    allows: (user) => user === 'ada',
  });
  await using registry = await startRegistry({ token: tokens.token });
  const credentials = { [registry.host]: { username: 'ada', password: 'lovelace' } };
  using ada = createRegistryClient({ ...HASTY, credentials });
  const [one, two] = ['one', 'two'].map((repository) => ({ registry: registry.host, repository }));
  if (one === undefined || two === undefined) throw new Error('two repositories');
  for (const image of [one, two]) await pushRandomImage(ada, image, 'v1', [randomBlob(10)]);
  const answer = await fetch(`${tokens.token.realm}?scope=repository:one:pull&scope=repository:two:pull`, {
    headers: { authorization: `Basic ${btoa('ada:lovelace')}` },
  });
  const { token } = (await answer.json()) as { token: string };
  for (const lendCredentials of [true, false]) {
    // Callers without a credential get what the daemon's own open, which is nothing here.
    await using stack = await startStack({
      mirror: { lendCredentials, anonymousUsesDaemonCredentials: true },
    });
    const pull = (authorization: string) =>
      fetch(`${stack.mirror.url}/v2/one/manifests/v1?ns=${registry.host}`, { headers: { authorization } });
    const seen = (image: typeof one, caller?: null) =>
      stack.client.resolve(image, 'v1', { caller }).then(
        () => 'there',
        (error) => error.code,
      );
    expect((await pull('Bearer of bad news')).status).toBe(401);
    expect(await seen(one)).toBe('unauthorized');
    expect((await pull(`Bearer ${token}`)).status).toBe(200);
    expect(await seen(one)).toBe(lendCredentials ? 'there' : 'unauthorized');
    expect([await seen(two), await seen(one, null)]).toEqual(['unauthorized', 'unauthorized']);
    stack.client.lend(two, 'Bearer of bad news');
    expect(await seen(two)).toBe('unauthorized');
    // Nobody's caller gets it from the mirror by that.
    expect((await fetch(`${stack.mirror.url}/v2/one/manifests/v1?ns=${registry.host}`)).status).toBe(401);
  }
});

test('a registry with tokens: a repository is read with what was entrusted for it, before what the daemon has itself', async () => {
  await using tokens = await startTokenServer({
    users: { ada: 'lovelace', bob: 'builder' },
    allows: (user) => user === 'ada',
  });
  await using registry = await startRegistry({ token: tokens.token });
  const of = (username: string, password: string) => ({ [registry.host]: { username, password } });
  using ada = createRegistryClient({ ...HASTY, credentials: of('ada', 'lovelace') });
  const [one, two] = ['one', 'two'].map((repository) => ({ registry: registry.host, repository }));
  if (one === undefined || two === undefined) throw new Error('two repositories');
  for (const image of [one, two]) await pushRandomImage(ada, image, 'v1', [randomBlob(10)]);
  using bob = createRegistryClient({ ...HASTY, credentials: of('bob', 'builder') });
  const seen = (image: typeof one, caller?: null) =>
    bob.resolve(image, 'v1', { caller }).then(
      () => 'there',
      (error) => error.code,
    );
  expect([await seen(one), await seen(two)]).toEqual(['unauthorized', 'unauthorized']);
  bob.entrust(one, { username: 'ada', password: 'lovelace' });
  expect([await seen(one), await seen(two), await seen(one, null)]).toEqual([
    'there',
    'unauthorized',
    'unauthorized',
  ]);
  // What comes later counts, also where a token of before would do.
  bob.entrust(one, { username: 'ada', password: 'wrong' });
  expect(await seen(one)).toBe('unauthorized');
});
