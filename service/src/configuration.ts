import { readFile } from 'node:fs/promises';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { type Finding, findingsOf, type SettingsTree, withoutRefused } from './findings.ts';

export interface ConfigurationOptions<Schema extends z.ZodType> {
  /** Every key has a default and, where its name does not say all, a description. */
  readonly schema: Schema;
  /** What no single setting shows: settings that do not go together, or are hardly meant. Pure. */
  readonly examine: (config: z.output<Schema>) => Finding[];
  /** The file that may be absent. */
  readonly defaultPath: string;
  readonly title: string;
  /** Sentences before the table in the documentation. */
  readonly about: readonly string[];
  /** Where a reader finds the schema. */
  readonly source: string;
  readonly documentedIn: string;
  /** What prints the defaults: `drakkar config default`. */
  readonly defaultCommand: string;
  /** A configuration that is taken for this one. */
  readonly other: {
    /** Whose it is: `a daemon’s`. */
    readonly whose: string;
    /** Settings that it has, and this one has not. */
    readonly settings: readonly string[];
  };
}

/** What is known of a configuration after it has been looked at. */
export interface Checked<Config> {
  /** Complete, without the settings that were refused; `undefined` where nothing can be made of the rest. */
  readonly config: Config | undefined;
  readonly findings: readonly Finding[];
}

/** What one schema gives: checked files, the default file and the documentation. */
export interface Configuration<Config> {
  /** Everything that is wrong or strange. */
  check(raw: unknown): Checked<Config>;
  /** Raw options in, complete options out. @throws `invalid_argument` that names everything wrong, by its path */
  complete(raw: unknown, source?: string): Config;
  /** What is written in a YAML file. The default file may be absent; one that was named may not. @throws `not_found` | `invalid_argument` */
  read(path?: string): Promise<unknown>;
  /** @throws as {@link read} and {@link complete} do */
  load(path?: string): Promise<Config>;
  /** @throws `invalid_argument` with all problems, if there are any */
  refuse(findings: readonly Finding[], source?: string): void;
  /** The defaults as commented YAML. */
  defaultYaml(): string;
  /** The page of the documentation, whole. */
  document(): string;
}

export function defineConfiguration<Schema extends z.ZodType>(
  options: ConfigurationOptions<Schema>,
): Configuration<z.output<Schema>> {
  const { schema, defaultPath, documentedIn, defaultCommand, examine, other } = options;
  const tree = () => treeOf(schema);
  const check = (raw: unknown): Checked<z.output<Schema>> => {
    const written = raw ?? {};
    const result = schema.safeParse(written);
    if (!result.success) {
      const { data: rest } = schema.safeParse(withoutRefused(written, result.error));
      const refused = findingsOf(result.error, written, tree());
      const others = rest === undefined ? [] : examine(rest);
      const isNew = ({ setting }: Finding) => refused.every((each) => each.setting !== setting);
      return { config: rest, findings: [...refused, ...others.filter(isNew)] };
    }
    return { config: result.data, findings: examine(result.data) };
  };
  const refuse = (findings: readonly Finding[], source = 'the configuration') => {
    const problems = findings.filter(isProblem);
    if (problems.length === 0) return;
    const lines = problems.map(({ setting, message }) => `${setting}: ${message}`);
    const words =
      lines.length === 1
        ? `${source}: ${lines[0]}`
        : [`${source} has ${lines.length} problems:`, ...lines].join('\n  ');
    throw new DrakkarError('invalid_argument', words, {
      hint: `${isMostly(other.settings, problems) ? `this looks like ${other.whose} configuration; ` : ''}see ${documentedIn}, or \`${defaultCommand}\``,
      details: { problems },
    });
  };
  const complete = (raw: unknown, source?: string): z.output<Schema> => {
    const { config, findings } = check(raw);
    refuse(findings, source);
    if (config === undefined)
      throw new DrakkarError('internal', 'a configuration is wrong, and nothing in it is');
    return config;
  };
  const read = async (path?: string): Promise<unknown> => {
    const file = path ?? defaultPath;
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (cause) {
      if (path === undefined && errnoOf(cause) === 'ENOENT') return {};
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new DrakkarError('not_found', `the configuration file can't be read: ${message}`, { cause });
    }
    try {
      return parse(text, { maxAliasCount: 0 });
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new DrakkarError('invalid_argument', `${file} is not YAML: ${message}`, { cause });
    }
  };
  return {
    check,
    complete,
    read,
    load: async (path) => complete(await read(path), path ?? defaultPath),
    refuse,
    defaultYaml: () => defaultYaml(tree(), complete({})),
    document: () => documentOf(options, tree(), complete({})),
  };
}

const isMostly = (settings: readonly string[], problems: readonly Finding[]): boolean =>
  problems.filter(({ setting }) => settings.includes(setting)).length * 2 > problems.length;

const isProblem = ({ severity }: Finding): boolean => severity === 'problem';

function treeOf(schema: z.ZodType): SettingsTree {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as SettingsTree;
}

function defaultYaml(tree: SettingsTree, defaults: unknown): string {
  const lines: string[] = [];
  const walk = (node: SettingsTree, value: Readonly<Record<string, unknown>>, indent: string) => {
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
  { title, about, source }: Pick<ConfigurationOptions<z.ZodType>, 'title' | 'about' | 'source'>,
  tree: SettingsTree,
  defaults: unknown,
): string {
  const rows: string[] = [];
  const walk = (node: SettingsTree, value: unknown, path: string) => {
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
