import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { describe, expect, test } from 'vitest';
import { readInRootfs } from '../../src/run/rootfs.ts';
import { resolveUser } from '../../src/run/user.ts';

const PASSWD =
  'root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/var/www:/bin/false\nbroken line\n12:x:77:78::/odd:/bin/sh\n';
const GROUP = 'root:x:0:\nwww:x:34:\nlogs:x:4:www,other\nvideo:x:44:other\n';

describe('the user that an image names', () => {
  test.each([
    ['', { uid: 0, gid: 0, home: '/root', additionalGids: [] }],
    ['www', { uid: 33, gid: 34, home: '/var/www', additionalGids: [4] }],
    ['33', { uid: 33, gid: 34, home: '/var/www', additionalGids: [4] }],
    ['www:video', { uid: 33, gid: 44, home: '/var/www', additionalGids: [] }],
    ['1000', { uid: 1000, gid: 0, home: '/', additionalGids: [] }],
    ['1000:1001', { uid: 1000, gid: 1001, home: '/', additionalGids: [] }],
    ['12', { uid: 77, gid: 78, home: '/odd', additionalGids: [] }],
  ])('%j', (user, expected) => {
    expect(resolveUser(user, PASSWD, GROUP)).toEqual(expected);
  });

  test.each(['nobody-here', 'www:nogroup', '-1', '99999999999'])('%j is refused', (user) => {
    expect(() => resolveUser(user, PASSWD, GROUP)).toThrow(
      expect.objectContaining({ code: 'invalid_argument' }),
    );
  });
});

test('an image’s links never lead out of its root', async () => {
  await using directory = await temporaryDirectory('rootfs');
  const rootfs = join(directory.path, 'rootfs');
  await mkdir(join(rootfs, 'etc'), { recursive: true });
  await writeFile(join(directory.path, 'secret'), 'the host’s');
  await writeFile(join(rootfs, 'secret'), 'the image’s');
  await symlink('../../secret', join(rootfs, 'etc/relative'));
  await symlink('/secret', join(rootfs, 'etc/absolute'));
  await symlink('loop', join(rootfs, 'etc/loop'));
  await symlink('/etc', join(rootfs, 'conf'));
  expect(await readInRootfs(rootfs, '/etc/relative')).toBe('the image’s');
  expect(await readInRootfs(rootfs, '/etc/absolute')).toBe('the image’s');
  expect(await readInRootfs(rootfs, '/conf/absolute')).toBe('the image’s');
  expect(await readInRootfs(rootfs, '/etc/loop')).toBe('');
  expect(await readInRootfs(rootfs, '/etc/none')).toBe('');
  expect(await readInRootfs(rootfs, '/etc')).toBe('');
});
