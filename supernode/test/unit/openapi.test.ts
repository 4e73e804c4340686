import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createSupernodeMetrics, openApi } from '../../src/index.ts';

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
}
interface Operation {
  readonly parameters?: readonly { readonly in: string; readonly name: string }[];
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }>
  >;
}
interface Description {
  readonly paths: Readonly<Record<string, { readonly get?: Operation }>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const root = join(import.meta.dirname, '../../..');

describe('what is committed is what the code says', () => {
  test('client/openapi.json, from which the client’s types are made', async () => {
    const committed = JSON.parse(await readFile(join(root, 'client/openapi.json'), 'utf8'));
    expect(JSON.parse(JSON.stringify(await openApi()))).toEqual(committed);
  });

  test('every list comes in pages', async () => {
    const { paths, components } = JSON.parse(JSON.stringify(await openApi())) as Description;
    const resolved = ({ $ref, ...schema }: Schema): Schema =>
      $ref === undefined ? schema : (components.schemas[$ref.split('/').at(-1) ?? ''] ?? {});
    const lists = Object.entries(paths).flatMap(([path, { get }]) => {
      const answer = get?.responses['200']?.content?.['application/json']?.schema;
      const { type, properties } = resolved(answer ?? {});
      return properties?.items === undefined && type !== 'array' ? [] : [{ path, get, properties }];
    });
    expect(lists.length).toBeGreaterThan(8);
    for (const { path, get, properties } of lists) {
      const query = get?.parameters?.filter((each) => each.in === 'query').map(({ name }) => name);
      // The cuts of one blob are few.
      if (path === '/api/v1/blobs/{digest}') continue;
      expect(query, path).toEqual(expect.arrayContaining(['after', 'limit']));
      expect(Object.keys(properties ?? {}).sort(), path).toEqual(['items', 'next']);
    }
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
