import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { loadKey } from '@drakkar/service';
import { expect, test } from 'vitest';

test('a host keeps its key, and refuses what is none', async () => {
  await using directory = await temporaryDirectory('keys');
  const path = join(directory.path, 'keys', 'peer.pem');
  const made = await loadKey(path, 'nothing is lost');
  expect((await loadKey(path, 'nothing is lost')).equals(made)).toBe(true);
  await writeFile(path, 'not a key');
  await expect(loadKey(path, 'nothing is lost')).rejects.toMatchObject({ code: 'invalid_content' });
});
