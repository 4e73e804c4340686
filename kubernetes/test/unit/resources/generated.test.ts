import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { generated } from '../../../src/index.ts';

const root = join(import.meta.dirname, '../../../..');

describe('what is made from the schemas', () => {
  test.each([...generated()])('%s is what scripts/generate makes', async (path, text) => {
    expect(await readFile(join(root, path), 'utf8')).toBe(text);
  });
});
