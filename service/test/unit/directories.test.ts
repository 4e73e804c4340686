import { statSync } from 'node:fs';
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
