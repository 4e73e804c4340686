import type { z } from 'zod';
import { nearest } from './nearest.ts';

/** Something about a configuration that its author should know. */
export interface Finding {
  /** Path of the setting: `mirror.port`, `registries.credentials.0`. */
  readonly setting: string;
  /** With a problem nothing starts; a warning is what is allowed and hardly meant. */
  readonly severity: 'problem' | 'warning';
  /** What is wrong, and what to write instead. */
  readonly message: string;
}

/** The part of a JSON schema that says how settings are called. */
export interface SettingsTree {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SettingsTree>>;
  readonly enum?: readonly unknown[];
  readonly items?: SettingsTree;
}

type Path = readonly PropertyKey[];

const SLIPS = 2;
const SHOWN_CHARACTERS = 60;
/** What is said of them ends in logs. */
const SECRETS: ReadonlySet<PropertyKey | undefined> = new Set(['password', 'joinToken']);

/** What a schema refused, in words for whoever wrote the file. Pure. */
export function findingsOf(error: z.ZodError, raw: unknown, tree: SettingsTree): Finding[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => unknownSetting([...issue.path, key], namesAt(tree, issue.path)));
    }
    return [problem(issue.path, describe(issue, valueAt(raw, issue.path)))];
  });
}

export function settingOf(path: Path): string {
  return path.length === 0 ? 'the whole file' : path.map(String).join('.');
}

/** What was written, without the settings that were refused: enough to look for what else is wrong. Pure. */
export function withoutRefused(raw: unknown, error: z.ZodError): unknown {
  const copy: unknown = structuredClone(raw);
  for (const issue of error.issues) {
    const paths =
      issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    for (const path of paths) remove(copy, path);
  }
  return copy;
}

function problem(path: Path, message: string): Finding {
  return { setting: settingOf(path), severity: 'problem', message };
}

function unknownSetting(path: Path, known: readonly string[]): Finding {
  const meant = nearest(String(path.at(-1)), known, SLIPS);
  const instead = meant === undefined ? `there are ${known.join(', ')}` : `perhaps ${meant} is meant`;
  return problem(path, `there is no such setting; ${instead}`);
}

function describe(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined
        ? `is missing; write ${kindOf(issue.expected)}`
        : insteadOf(issue, kindOf(issue.expected), value);
    case 'invalid_value':
      return insteadOf(issue, `one of ${issue.values.map(String).join(', ')}`, value);
    case 'too_small':
    case 'too_big':
      return insteadOf(issue, limitOf(issue), value);
    case 'not_multiple_of':
      return insteadOf(issue, `a multiple of ${issue.divisor}`, value);
    case 'invalid_key':
      return 'its name is too long, or is none';
    default:
      return issue.message;
  }
}

function insteadOf({ path }: z.core.$ZodIssue, wanted: string, value: unknown): string {
  if (SECRETS.has(path.at(-1))) return `write ${wanted}`;
  if (value === null) return `is empty; write ${wanted}, or leave the key out`;
  // Somewhere in it a secret may stand.
  if (typeof value === 'object')
    return `write ${wanted} instead of ${Array.isArray(value) ? 'a list' : 'settings'}`;
  const text = JSON.stringify(value) ?? String(value);
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  return `write ${wanted} instead of ${shown}`;
}

function limitOf(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const limit = issue.code === 'too_small' ? issue.minimum : issue.maximum;
  const bound = `${issue.code === 'too_small' ? 'at least' : 'at most'} ${limit}`;
  if (issue.origin === 'string') return `${bound} characters`;
  return issue.origin === 'array' ? `${bound} of them` : bound;
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'settings, each with its name',
  record: 'names and texts',
};

const kindOf = (expected: string): string => KINDS[expected] ?? expected;

function namesAt(tree: SettingsTree, path: Path): string[] {
  let node: SettingsTree | undefined = tree;
  for (const key of path) node = typeof key === 'number' ? node?.items : node?.properties?.[String(key)];
  return Object.keys(node?.properties ?? {});
}

function valueAt(raw: unknown, path: Path): unknown {
  return path.reduce(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    raw,
  );
}

/** Of a list the whole list goes. */
function remove(raw: unknown, path: Path): void {
  const inList = path.findIndex((key) => typeof key === 'number');
  const whole = inList < 0 ? path : path.slice(0, inList);
  const last = whole.at(-1);
  const parent = valueAt(raw, whole.slice(0, -1));
  if (last !== undefined && typeof parent === 'object' && parent !== null)
    Reflect.deleteProperty(parent, last);
}
