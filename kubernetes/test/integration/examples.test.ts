import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ControlPlane } from '@drakkar/lab';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { startOurPlane } from '../kit.ts';

const DIRECTORY = join(import.meta.dirname, '../../../deploy/kubernetes/examples');
const EXAMPLES = readdirSync(DIRECTORY);

const running = new AsyncDisposableStack();
let plane: ControlPlane;
beforeAll(async () => {
  plane = running.use(await startOurPlane());
  await plane.kubectl(['create', 'namespace', 'team']);
});
afterAll(() => running[Symbol.asyncDispose]());

test.each(EXAMPLES)('the example %s is taken as it was written, without a warning', async (name) => {
  const file = join(DIRECTORY, name);
  await plane.kubectl(['apply', `--filename=${file}`, '--warnings-as-errors']);
  const written = parseAllDocuments(await readFile(file, 'utf8')).map((document) => document.toJS());
  const kept: unknown = JSON.parse(await plane.kubectl(['get', `--filename=${file}`, '--output=json']));
  expect(kept).toMatchObject(written.length === 1 ? written[0] : { items: written });
});
