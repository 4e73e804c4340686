import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { metricsDocument } from '../../src/commands/config.ts';

test('docs/METRICS.md is what the code says', async () => {
  const page = join(import.meta.dirname, '../../../docs/METRICS.md');
  expect(await readFile(page, 'utf8')).toBe(await metricsDocument());
});
