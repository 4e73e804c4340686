import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createSupernodeMetrics, openApi } from '../../src/index.ts';

const root = join(import.meta.dirname, '../../..');

describe('what is committed is what the code says', () => {
  test('client/openapi.json, from which the client’s types are made', async () => {
    const committed = JSON.parse(await readFile(join(root, 'client/openapi.json'), 'utf8'));
    expect(JSON.parse(JSON.stringify(await openApi()))).toEqual(committed);
  });

  test('the metrics that the dashboard and the alerts ask for', async () => {
    const { registry } = createSupernodeMetrics();
    const known = (await registry.getMetricsAsJSON()).map(({ name }) => name);
    for (const file of ['dashboard.json', 'alerts.yaml']) {
      const text = await readFile(join(root, 'deploy/monitoring', file), 'utf8');
      const asked = new Set(text.match(/drakkar_\w+/g));
      expect(asked.size).toBeGreaterThan(5);
      for (const name of asked) expect(known).toContain(name.replace(/_(?:bucket|count|sum)$/, ''));
    }
  });
});
