import { stringify } from 'yaml';
import { z } from 'zod';
import { completeConfig } from './load.ts';
import { configSchema } from './schema.ts';

interface SchemaNode {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
}

function schemaTree(): SchemaNode {
  return z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as SchemaNode;
}

/** The default configuration as commented YAML. */
export function defaultConfigYaml(): string {
  const lines: string[] = [];
  const walk = (node: SchemaNode, value: Readonly<Record<string, unknown>>, indent: string) => {
    for (const [name, child] of Object.entries(node.properties ?? {})) {
      if (child.description) lines.push(`${indent}# ${child.description}`);
      const inner = value[name];
      if (child.properties && typeof inner === 'object' && inner !== null) {
        lines.push(`${indent}${name}:`);
        walk(child, inner as Readonly<Record<string, unknown>>, `${indent}  `);
      } else {
        lines.push(`${indent}${name}: ${stringify(inner, { collectionStyle: 'flow' }).trim()}`);
      }
    }
  };
  walk(schemaTree(), completeConfig({}), '');
  return `${lines.join('\n')}\n`;
}

/** docs/configuration.md, whole. */
export function configurationDocument(): string {
  const rows: string[] = [];
  const walk = (node: SchemaNode, value: unknown, path: string) => {
    for (const [name, child] of Object.entries(node.properties ?? {})) {
      const at = path === '' ? name : `${path}.${name}`;
      const inner = (value as Readonly<Record<string, unknown>> | undefined)?.[name];
      if (child.properties) {
        rows.push(`| **\`${at}\`** | | ${child.description ?? ''} |`);
        walk(child, inner, at);
        continue;
      }
      const fallback = inner === undefined ? '' : `\`${JSON.stringify(inner)}\``;
      const choices = child.enum ? ` One of ${child.enum.map((choice) => `\`${choice}\``).join(', ')}.` : '';
      rows.push(`| \`${at}\` | ${fallback} | ${child.description ?? ''}${choices} |`);
      if (child.items?.properties) walk(child.items, undefined, `${at}[]`);
    }
  };
  walk(schemaTree(), completeConfig({}), '');
  return [
    '# Configuration',
    '',
    'One YAML file, `/etc/drakkar/config.yaml` or the one given with `--config`. Every key may be left out.',
    '`drakkar config default` prints it whole with its defaults; `drakkar config check FILE` says what is wrong in one.',
    'Sizes in bytes may be written as `10GiB` or `500MB`.',
    '',
    '| key | default | meaning |',
    '| --- | --- | --- |',
    ...rows,
    '',
    '<!-- Printed from daemon/src/config/schema.ts by `drakkar config document`; a test keeps the two equal. -->',
    '',
  ].join('\n');
}
