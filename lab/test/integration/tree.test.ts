import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compareTrees, listTree, tarArchive, temporaryDirectory } from '../../src/index.ts';

/** Unpacks with the system's tar. */
function unpack(archive: Buffer, directory: string): void {
  execFileSync('tar', ['--xattrs', '--xattrs-include=*', '-xpf', '-', '-C', directory], { input: archive });
}

describe('a tree that the system’s tar made of an archive of ours', () => {
  const archive = tarArchive([
    { name: 'dir/', type: '5', mode: 0o751, mtime: 1_500_000_000 },
    {
      name: 'dir/with\nnewline\\and =',
      data: 'content',
      uid: 1234,
      gid: 70_000_000,
      pax: [
        ['mtime', '1500000000.123456789'],
        ['SCHILY.xattr.user.empty', ''],
        ['SCHILY.xattr.user.binary', Buffer.from([1, 255, 10, 0, 2])],
      ],
    },
    { name: Buffer.from([0x6e, 0xff]), type: '2', linkName: Buffer.from([0xfe]) },
    { name: 'z', type: '1', linkName: 'dir/with\nnewline\\and =', uid: 1234, gid: 70_000_000 },
    { name: 'device', type: '3', major: 300, minor: 70_000 },
  ]);

  it('is listed with all that a user could notice', async () => {
    await using directory = await temporaryDirectory('tree');
    unpack(archive, directory.path);
    const tree = await listTree(directory.path);
    expect([...tree.keys()]).toEqual(['.', 'device', 'dir', 'dir/with\nnewline\\and =', 'n\xff', 'z']);
    expect(tree.get('z')).toMatchObject({
      type: 'file',
      uid: 1234,
      gid: 70_000_000,
      sizeBytes: 7,
      linkGroup: 'dir/with\nnewline\\and =',
      sha256: 'ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73',
    });
    expect([...(tree.get('z')?.xattrs ?? [])].sort()).toEqual([
      ['user.binary', 'Af8KAAI='],
      ['user.empty', ''],
    ]);
    expect(tree.get('dir')).toMatchObject({ mode: 0o751, mtimeNanoseconds: 1_500_000_000_000_000_000n });
    expect(tree.get('n\xff')).toMatchObject({ type: 'symlink', linkTarget: '\xfe' });
    expect(tree.get('device')).toMatchObject({ type: 'character', device: '300:70000' });
  });

  it('equals itself, and every difference is named', async () => {
    await using left = await temporaryDirectory('left');
    await using right = await temporaryDirectory('right');
    unpack(archive, left.path);
    unpack(archive, right.path);
    const ours = await listTree(left.path);
    expect(compareTrees(ours, await listTree(right.path))).toEqual([]);
    chmodSync(join(right.path, 'z'), 0o600);
    writeFileSync(join(right.path, 'new'), '');
    linkSync(join(right.path, 'device'), join(right.path, 'a-device'));
    symlinkSync('x', join(right.path, 'dir', 'link'));
    const differences = compareTrees(ours, await listTree(right.path), {
      unpackedSinceSeconds: 1_600_000_000,
    });
    expect(differences).toEqual([
      '"a-device" is missing from the first (character)',
      '"device": hard-link group is device, and a-device in the second',
      '"dir/link" is missing from the first (symlink)',
      '"dir/with\\nnewline\\\\and =": mode is 644, and 600 in the second',
      '"new" is missing from the first (file)',
      '"z": mode is 644, and 600 in the second',
    ]);
  });
});
