import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { makeDirectory } from '../../src/directories.ts';

test('a directory is made with all above it, once or twice', async () => {
  await using home = await temporaryDirectory('directories');
  const path = join(home.path, 'a/b/c');
  await makeDirectory(path, 0o700);
  await makeDirectory(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

test('where nothing can be made, that is said', async () => {
  for (const path of ['/proc/nothing/here', '/dev/null/below']) {
    await expect(makeDirectory(path)).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining(path),
      hint: expect.any(String),
    });
  }
});

test('what is there, and no directory, is none; what a link names may be one', async () => {
  await using home = await temporaryDirectory('directories');
  const at = (name: string) => join(home.path, name);
  writeFileSync(at('file'), '');
  symlinkSync(at('nowhere'), at('dangling'));
  symlinkSync(home.path, at('link'));
  await makeDirectory(at('link'));
  for (const name of ['file', 'dangling']) {
    await expect(makeDirectory(at(name))).rejects.toMatchObject({
      code: 'already_exists',
      message: expect.stringMatching(/\/\w+ can't be made: what is called so is no directory$/),
      hint: expect.any(String),
    });
  }
});
