import { readFile } from 'node:fs/promises';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { parse, stringify } from 'yaml';
import { z } from 'zod';

export interface ConfigurationOptions<Schema extends z.ZodType> {
  /** Every key has a default and, where its name does not say all, a description. */
  readonly schema: Schema;
  /** The file that may be absent. */
  readonly defaultPath: string;
  readonly title: string;
  /** Sentences before the table in the documentation. */
  readonly about: readonly string[];
  /** Where a reader finds the schema. */
  readonly source: string;
  readonly documentedIn: string;
}

/** What one schema gives: checked files, the default file and the documentation. */
export interface Configuration<Config> {
  /** Raw options in, complete options out. @throws `invalid_argument` that names the first thing wrong, by its path */
  complete(raw: unknown, source?: string): Config;
  /** Reads a YAML file. The default file may be absent; one that was named may not. @throws `not_found` | `invalid_argument` */
  load(path?: string): Promise<Config>;
  /** The defaults as commented YAML. */
  defaultYaml(): string;
  /** The page of the documentation, whole. */
  document(): string;
}

export function defineConfiguration<Schema extends z.ZodType>(
  options: ConfigurationOptions<Schema>,
): Configuration<z.output<Schema>> {
  const { schema, defaultPath, documentedIn } = options;
  const complete = (raw: unknown, source = 'the configuration'): z.output<Schema> => {
    const result = schema.safeParse(raw ?? {});
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    const path = issue === undefined || issue.path.length === 0 ? 'its top level' : issue.path.join('.');
    throw new DrakkarError('invalid_argument', `${source}: ${path}: ${issue?.message ?? 'is not valid'}`, {
      hint: `see ${documentedIn}, or \`drakkar config default\``,
    });
  };
  const load = async (path?: string) => {
    const file = path ?? defaultPath;
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (cause) {
      if (path === undefined && errnoOf(cause) === 'ENOENT') return complete({});
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new DrakkarError('not_found', `the configuration file can't be read: ${message}`, { cause });
    }
    let raw: unknown;
    try {
      raw = parse(text, { maxAliasCount: 0 });
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new DrakkarError('invalid_argument', `${file} is not YAML: ${message}`, { cause });
    }
    return complete(raw, file);
  };
  return {
    complete,
    load,
    defaultYaml: () => defaultYaml(treeOf(schema), complete({})),
    document: () => documentOf(options, treeOf(schema), complete({})),
  };
}

interface SchemaNode {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly enum?: readonly unknown[];
  readonly items?: SchemaNode;
}

function treeOf(schema: z.ZodType): SchemaNode {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as SchemaNode;
}

function defaultYaml(tree: SchemaNode, defaults: unknown): string {
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
  walk(tree, defaults as Readonly<Record<string, unknown>>, '');
  return `${lines.join('\n')}\n`;
}

function documentOf(
  { title, about, source }: Omit<ConfigurationOptions<z.ZodType>, 'schema'>,
  tree: SchemaNode,
  defaults: unknown,
): string {
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
  walk(tree, defaults, '');
  return [
    `# ${title}`,
    '',
    ...about,
    '',
    '| key | default | meaning |',
    '| --- | --- | --- |',
    ...rows,
    '',
    `<!-- Printed from ${source}; a test keeps the two equal. -->`,
    '',
  ].join('\n');
}
