import { execFileSync } from 'node:child_process';
import {
  appendFile,
  chmod,
  chown,
  link,
  mkdir,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { listTree } from '@drakkar/lab';

const TIME = new Date('2001-02-03T04:05:06Z');

/** What a container may do to a file. */
const CHANGES: readonly ((path: string) => Promise<unknown>)[] = [
  (path) => appendFile(path, 'more'),
  (path) => rm(path),
  (path) => rename(path, `${path}.renamed`),
  (path) => chmod(path, 0o640),
  (path) => chown(path, 12, 34),
  async (path) => execFileSync('setfattr', ['-h', '-n', 'user.changed', '-v', 'yes', path]),
  (path) => link(path, `${path}.linked`),
  async (path) => {
    await rm(path);
    await mkdir(path);
    await writeFile(join(path, 'inside'), 'a directory now');
  },
  async (path) => {
    await rm(path);
    await symlink('elsewhere', path);
  },
];

/** Changes a tree in every way that an overlay must be able to keep: the same tree always in the same way. */
export async function changeTree(root: string): Promise<void> {
  const tree = await listTree(root);
  const isPlain = (path: string) => path !== '.' && /^[\w./-]+$/.test(path);
  const [files, directories] = (['file', 'directory'] as const).map((wanted) =>
    [...tree].flatMap(([path, { type }]) => (type === wanted && isPlain(path) ? path : [])).sort(),
  ) as [string[], string[]];
  for (const [index, path] of files.slice(0, CHANGES.length).entries()) {
    await CHANGES[index]?.(join(root, path));
    for (const name of [path, `${path}.renamed`, `${path}.linked`])
      await utimes(join(root, name), TIME, TIME).catch(() => {});
  }
  const last = directories.at(-1);
  if (last !== undefined) {
    // Nothing of what was in it may be seen in the new one.
    await rm(join(root, last), { recursive: true });
    await mkdir(join(root, last));
  }
  await writeFile(join(root, 'new'), 'new');
  await utimes(join(root, 'new'), TIME, TIME);
}
