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
