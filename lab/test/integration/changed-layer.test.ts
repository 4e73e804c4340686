import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { changeLayer, temporaryDirectory } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { expect, test } from 'vitest';

test('a changed layer differs in every page of what was to change, and in nothing else', async () => {
  await using directory = await temporaryDirectory('changed');
  const source = join(directory.path, 'source');
  mkdirSync(join(source, 'lib/package'), { recursive: true });
  const bytes = Buffer.alloc(3 * 4096 + 5, 'x');
  writeFileSync(join(source, 'lib/package/data'), bytes);
  writeFileSync(join(source, 'lib/other'), 'as it was');
  const path = join(directory.path, 'layer.tar.gz');
  execFileSync('tar', ['-C', source, '-czf', path, '.']);
  const blob = readFileSync(path);
  const before = { path, digest: digestOf(blob), diffId: digestOf(gunzipSync(blob)), sizeBytes: blob.length };

  const { layer, changedBytes } = await changeLayer(before, 'lib/package', join(directory.path, 'work'));

  expect(changedBytes).toBe(bytes.length);
  expect(layer.digest).toBe(digestOf(readFileSync(layer.path)));
  const target = join(directory.path, 'target');
  mkdirSync(target);
  execFileSync('tar', ['-C', target, '-xzf', layer.path]);
  expect(readFileSync(join(target, 'lib/other'), 'utf8')).toBe('as it was');
  const after = readFileSync(join(target, 'lib/package/data'));
  expect(after.length).toBe(bytes.length);
  for (let at = 0; at < bytes.length; at += 4096) expect(after[at]).not.toBe(bytes[at]);
});
