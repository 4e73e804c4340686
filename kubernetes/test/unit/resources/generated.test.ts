import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { alertsResource } from '../../../../scripts/alerts.ts';
import { generated } from '../../../src/index.ts';

const root = join(import.meta.dirname, '../../../..');

describe('what is made from the schemas', () => {
  test.each([...generated()])('%s is what scripts/generate makes', async (path, text) => {
    expect(await readFile(join(root, path), 'utf8')).toBe(text);
  });
});

test('what the Prometheus Operator is told are the alerts that Prometheus is', async () => {
  const alerts = await readFile(join(root, 'deploy/monitoring/alerts.yaml'), 'utf8');
  const [path, text] = alertsResource(alerts);
  expect(await readFile(join(root, path), 'utf8')).toBe(text);
  expect(parse(text)).toMatchObject({ kind: 'PrometheusRule', spec: parse(alerts) });
});
