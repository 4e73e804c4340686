import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { BUILT_IN } from '../../src/comparisons/built-in.ts';
import { loadContender } from '../../src/comparisons/contender.ts';

test.each([
  ['export default { name: "mine", prepare: async () => ({}) };', true],
  ['export default { name: "", prepare: async () => ({}) };', false],
  ['export default { name: "mine" };', false],
  ['export default null;', false],
  ['export const contender = 1;', false],
])('a contender of somebody else’s is what a module exports by default: %s', async (text, isOne) => {
  await using directory = await temporaryDirectory('contender');
  const path = join(directory.path, 'contender.mjs');
  await writeFile(path, text);
  const loaded = loadContender(path);
  if (isOne) expect((await loaded).name).toBe('mine');
  else await expect(loaded).rejects.toThrow('exports no contender by default');
});

test('those that always take part have names of their own', () => {
  expect(new Set(BUILT_IN.map(({ name }) => name)).size).toBe(BUILT_IN.length);
});
