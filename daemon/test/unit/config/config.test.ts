import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configuration } from '@drakkar/daemon';
import { temporaryDirectory } from '@drakkar/lab';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

test('the printed default is a valid configuration that changes nothing', () => {
  expect(configuration.complete(parse(configuration.defaultYaml()))).toEqual(configuration.complete({}));
});

test('docs/configuration.md is what the schema says', async () => {
  const document = await readFile(join(import.meta.dirname, '../../../../docs/configuration.md'), 'utf8');
  expect(document).toBe(configuration.document());
});

describe('a configuration file', () => {
  test.each([
    ['an unknown key', { mirrors: {} }, /top level.*mirrors/],
    ['a wrong type', { mirror: { port: 'high' } }, /mirror\.port/],
    ['a port out of range', { mirror: { port: 70_000 } }, /mirror\.port/],
    ['a relative state directory', { stateDirectory: 'here' }, /stateDirectory.*absolute/],
    ['no state directory', { stateDirectory: '' }, /stateDirectory.*absolute/],
    ['a state directory that sockets can’t be in', { stateDirectory: `/${'d'.repeat(100)}` }, /too long/],
    ['a socket with too long a path', { native: { socket: `/${'s'.repeat(107)}` } }, /native\.socket.*107/],
    ['an address that is none', { mirror: { address: 'not an address' } }, /mirror\.address/],
    ['a size that is none', { store: { quotaBytes: '10 parsecs' } }, /store\.quotaBytes.*10GiB/],
    ['a block that EROFS can’t address', { snapshots: { blockBytes: 5000 } }, /snapshots\.blockBytes/],
    ['a key that is none', { snapshots: { trustedBuilders: ['me'] } }, /trustedBuilders\.0.*public key/],
    [
      'a credential without a secret',
      { registries: { credentials: [{ registry: 'ghcr.io', username: 'me' }] } },
      /credentials\.0.*passwordFile/,
    ],
  ])('with %s is refused by its path', (_, raw, words) => {
    expect(() => configuration.complete(raw)).toThrow(
      expect.objectContaining({ code: 'invalid_argument', message: expect.stringMatching(words) }),
    );
  });

  test.each([
    [1000, 1000],
    ['2 GiB', 2 * 1024 ** 3],
    ['1.5MB', 1_500_000],
    ['10k', 10_000],
  ])('understands %j as a size', (quotaBytes, bytes) => {
    expect(configuration.complete({ store: { quotaBytes } }).store.quotaBytes).toBe(bytes);
  });

  test('may be absent only where nobody named it', async () => {
    await using directory = await temporaryDirectory('config');
    const missing = join(directory.path, 'missing.yaml');
    await expect(configuration.load(missing)).rejects.toMatchObject({ code: 'not_found' });
    const broken = join(directory.path, 'broken.yaml');
    await writeFile(broken, 'mirror: [');
    await expect(configuration.load(broken)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(broken),
    });
    const empty = join(directory.path, 'empty.yaml');
    await writeFile(empty, '');
    expect(await configuration.load(empty)).toEqual(configuration.complete({}));
  });

  test('does not expand aliases without end', async () => {
    await using directory = await temporaryDirectory('config');
    const bomb = join(directory.path, 'bomb.yaml');
    await writeFile(bomb, 'a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n');
    await expect(configuration.load(bomb)).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});
