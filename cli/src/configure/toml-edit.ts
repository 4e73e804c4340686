import { isDeepStrictEqual } from 'node:util';
import { DrakkarError } from '@drakkar/errors';
import { parse, stringify, type TomlTable, type TomlValue } from 'smol-toml';

/** A value that shall stand in a table. */
export interface Setting {
  /** Keys from the root down. */
  readonly table: readonly string[];
  readonly key: string;
  readonly value: TomlValue;
}

/** One more table in an array of tables. */
export interface ArrayEntry {
  readonly table: readonly string[];
  readonly entry: Readonly<Record<string, TomlValue>>;
}

export interface Wanted {
  readonly settings: readonly Setting[];
  readonly entries: readonly ArrayEntry[];
}

/** What was done to a text, so that it can be undone in one that has changed elsewhere since. */
export type Change =
  /** A line was put in the place of another, or, where there was none, behind its table's header. */
  | {
      readonly kind: 'line';
      readonly table: readonly string[];
      readonly before: string | null;
      readonly after: string;
    }
  /** Lines were added at the end. */
  | { readonly kind: 'lines'; readonly lines: readonly string[] };

export interface Edited {
  readonly text: string;
  readonly changes: readonly Change[];
}

/** Above what is added to a text. */
export const SET_BY = '# Set by `drakkar configure containerd`.';

/** Much more than anybody's configuration has. */
const MAX_CHARACTERS = 4 * 1024 * 1024;

/** @throws `invalid_content` for what is no TOML */
export function parseToml(text: string, path: string): TomlTable {
  if (text.length > MAX_CHARACTERS) throw new DrakkarError('limit_exceeded', `${path} has more than 4 MiB`);
  try {
    return parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n', 1)[0] : 'not TOML';
    throw new DrakkarError('invalid_content', `${path} is not valid: ${why}`, {
      hint: 'correct it; nothing was changed',
      cause,
    });
  }
}

/**
 * Makes a text say what is wanted, and leaves every other byte as it is: comments, order, blanks. What comes of it is parsed and compared with what it
 * should be.
 *
 * @throws `unsupported` for a text whose shape is not understood
 */
export function editToml(text: string, wanted: Wanted, path: string): Edited {
  return withLineEnds(text, (plain) => editPlain(plain, wanted, path));
}

/** As with ends of lines of one character, and with the text's own again. Where they are mixed they are what they are. */
export function withLineEnds(text: string, edit: (text: string) => Edited): Edited {
  const isWindows = text.includes('\r\n') && !/(^|[^\r])\n/.test(text);
  if (!isWindows) return edit(text);
  const edited = edit(text.replaceAll('\r\n', '\n'));
  return { ...edited, text: edited.text.replaceAll('\n', '\r\n') };
}

function editPlain(text: string, { settings, entries }: Wanted, path: string): Edited {
  const before = parseToml(text, path);
  const lines = text.split('\n');
  const changes: Change[] = [];
  const added = new Map<string, string[]>();
  for (const { table, key, value } of settings) {
    const known = valueAt(before, [...table, key]);
    if (known !== undefined && isSame(known, value)) continue;
    const line = `${assignment(key, value)}`;
    const header = lines.findIndex((candidate) => isDeepStrictEqual(headerOf(candidate), table));
    if (header === -1) {
      const name = JSON.stringify(table);
      added.set(name, [...(added.get(name) ?? [`[${table.map(bareOrQuoted).join('.')}]`]), `  ${line}`]);
      continue;
    }
    changes.push(setLine(lines, table, header, key, line));
  }
  const blocks = [...added.values(), ...entries.filter((entry) => !hasEntry(before, entry)).map(entryLines)];
  const edited = [...lines];
  if (blocks.length > 0) {
    const block = [SET_BY, ...blocks.flat()];
    if (edited.at(-1) === '') edited.pop();
    edited.push(...block, '');
    changes.push({ kind: 'lines', lines: block });
  }
  const after = edited.join('\n');
  expectMeaning(after, expected(before, { settings, entries }), path);
  return { text: after, changes };
}

/**
 * Takes back what was done to a text, wherever it still stands as it was written; what somebody has changed since is theirs.
 *
 * @returns the text, and the changes that could not be undone
 */
export function revertToml(text: string, changes: readonly Change[]): Edited {
  return withLineEnds(text, (plain) => revertPlain(plain, changes));
}

function revertPlain(text: string, changes: readonly Change[]): Edited {
  const lines = text.split('\n');
  const left: Change[] = [];
  for (const change of changes.toReversed()) {
    const isUndone = change.kind === 'line' ? undoLine(lines, change) : undoLines(lines, change.lines);
    if (!isUndone) left.push(change);
  }
  const reverted = lines.join('\n');
  return isToml(reverted) ? { text: reverted, changes: left } : { text, changes: [...changes] };
}

function setLine(
  lines: string[],
  table: readonly string[],
  header: number,
  key: string,
  line: string,
): Change {
  for (let at = header + 1; at < lines.length && headerOf(lines[at] ?? '') === undefined; at += 1) {
    const before = lines[at] ?? '';
    if (keyOf(before) !== key) continue;
    const indent = before.slice(0, before.length - before.trimStart().length);
    const after = `${indent}${line}${commentOf(before)}`;
    lines[at] = after;
    return { kind: 'line', table, before, after };
  }
  lines.splice(header + 1, 0, `  ${line}`);
  return { kind: 'line', table, before: null, after: `  ${line}` };
}

/** Behind a simple value, with the blanks before it. */
const commentOf = (line: string): string =>
  /^[^=]*=\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s#"'[{]+)(\s*#.*)$/.exec(line)?.[1] ?? '';

function undoLine(lines: string[], { table, before, after }: Extract<Change, { kind: 'line' }>): boolean {
  const header = lines.findIndex((line) => isDeepStrictEqual(headerOf(line), table));
  const next = lines.findIndex((line, at) => at > header && headerOf(line) !== undefined);
  const at = lines.indexOf(after, header + 1);
  if (header === -1 || at === -1 || (next !== -1 && at > next)) return false;
  if (before === null) lines.splice(at, 1);
  else lines[at] = before;
  return true;
}

/** As a whole where nobody has touched it, else line by line: what is somebody's stays, under the header under which it stands. */
function undoLines(lines: string[], block: readonly string[]): boolean {
  const at = lines.findIndex((_, start) => block.every((line, offset) => lines[start + offset] === line));
  if (at !== -1 && !isContinued(lines, at + block.length)) {
    lines.splice(at, block.length);
    return true;
  }
  const [comments, ...sections] = sectionsOf(block);
  for (const comment of comments ?? []) removeLine(lines, comment, 0, lines.length);
  const wholes = sections.flatMap(([header = '', ...settings]) =>
    settings.some((line) => keyOf(line) === WHOLE_BY) ? [headerOf(header) ?? []] : [],
  );
  const isOfWhole = (header: string) => {
    const path = headerOf(header) ?? [];
    return wholes.some((whole) => isDeepStrictEqual(path.slice(0, whole.length), whole));
  };
  return sections
    .map((section) => {
      const [header = ''] = section;
      if (isEntry(header)) return undoEntry(lines, section);
      return isOfWhole(header) ? undoTable(lines, header) : undoSection(lines, section);
    })
    .every(Boolean);
}

/** A table that says this was made by us as a whole, with those below it: nothing of it is of use alone. */
const WHOLE_BY = 'runtime_type';
/** By which a table of an array is told from others. */
const ENTRY_BY = 'snapshotter';

const isEntry = (header: string): boolean => /^\s*\[\[/.test(header);

/** One of an array is ours as long as it is for the same: it goes as a whole, or stays as it is. */
function undoEntry(lines: string[], [header = '', ...settings]: readonly string[]): boolean {
  const named = settings.filter((line) => keyOf(line) === ENTRY_BY);
  const marks = named.length > 0 ? named : settings;
  const at = lines.findIndex((line, index) => {
    const inside = lines.slice(index, endOf(lines, index));
    return isSameLine(line, header) && marks.every((mark) => inside.some((one) => isSameLine(one, mark)));
  });
  if (at === -1) return !lines.some((line) => isSameLine(line, header));
  lines.splice(at, contentEndOf(lines, at) - at);
  return true;
}

function undoTable(lines: string[], header: string): boolean {
  const at = lines.findIndex((line) => isSameLine(line, header));
  if (at !== -1) lines.splice(at, contentEndOf(lines, at) - at);
  return true;
}

/** Behind the last line of the table whose header stands there; comments that come after it may be of what follows. */
function contentEndOf(lines: readonly string[], header: number): number {
  const end = endOf(lines, header);
  const last = lines.slice(0, end).findLastIndex((line) => !/^\s*(#.*)?$/.test(line));
  return Math.max(last, header) + 1;
}

/** Whether what stands there belongs to the table above. */
function isContinued(lines: readonly string[], from: number): boolean {
  const next = lines.slice(from).find((line) => !/^\s*(#.*)?$/.test(line));
  return next !== undefined && !isHeader(next);
}

/** What comes before the first table, then each table with its header. */
function sectionsOf(block: readonly string[]): string[][] {
  const sections: string[][] = [[]];
  for (const line of block.filter((candidate) => candidate.trim() !== '')) {
    if (isHeader(line)) sections.push([line]);
    else sections.at(-1)?.push(line);
  }
  return sections;
}

function undoSection(lines: string[], [header = '', ...settings]: readonly string[]): boolean {
  const places = lines.flatMap((line, at) => (isSameLine(line, header) ? at : []));
  const missing = (at: number) => {
    const section = lines.slice(at, endOf(lines, at));
    return settings.filter((setting) => !section.some((line) => isSameLine(line, setting))).length;
  };
  const [at] = places.toSorted((one, other) => missing(one) - missing(other));
  if (at === undefined) return true;
  const isWhole = missing(at) === 0;
  for (const setting of settings) removeLine(lines, setting, at + 1, endOf(lines, at));
  const left = lines.slice(at + 1, endOf(lines, at));
  if (left.every((line) => /^\s*(#.*)?$/.test(line))) lines.splice(at, 1);
  return isWhole;
}

function removeLine(lines: string[], wanted: string, from: number, to: number): void {
  const at = lines.findIndex((line, index) => index >= from && index < to && isSameLine(line, wanted));
  if (at !== -1) lines.splice(at, 1);
}

/** Of the table whose header stands there. */
function endOf(lines: readonly string[], header: number): number {
  const next = lines.findIndex((line, at) => at > header && isHeader(line));
  return next === -1 ? lines.length : next;
}

const isHeader = (line: string): boolean => /^\s*\[/.test(line);

const isSameLine = (one: string, other: string): boolean => one.trim() === other.trim();

/** Of a line that begins a table, which; nothing for any other. */
function headerOf(line: string): string[] | undefined {
  if (!/^\s*\[[^[]/.test(line)) return /^\s*\[\[/.test(line) ? [] : undefined;
  try {
    const path: string[] = [];
    let table: TomlValue | undefined = parse(line);
    while (isTable(table)) {
      const entries: [string, TomlValue][] = Object.entries(table);
      const [first] = entries;
      if (first === undefined) break;
      path.push(first[0]);
      table = first[1];
    }
    return path;
  } catch {
    return undefined;
  }
}

/** The key of a line that sets one, where all of it stands on that line. */
function keyOf(line: string): string | undefined {
  try {
    const keys = Object.keys(parse(line));
    return keys.length === 1 ? keys[0] : undefined;
  } catch {
    return undefined;
  }
}

const entryLines = ({ table, entry }: ArrayEntry): string[] => [
  `[[${table.map(bareOrQuoted).join('.')}]]`,
  ...Object.entries(entry).map(([key, value]) => `  ${assignment(key, value)}`),
];

const assignment = (key: string, value: TomlValue): string => stringify({ [key]: value }).trimEnd();

const bareOrQuoted = (key: string): string => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key));

export const isTable = (value: TomlValue | undefined): value is TomlTable =>
  typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);

export function valueAt(root: TomlTable, path: readonly string[]): TomlValue | undefined {
  return path.reduce<TomlValue | undefined>((value, key) => (isTable(value) ? value[key] : undefined), root);
}

function hasEntry(root: TomlTable, { table, entry }: ArrayEntry): boolean {
  const entries = valueAt(root, table);
  return Array.isArray(entries) && entries.some((other) => isSame(other, entry));
}

function expected(before: TomlTable, { settings, entries }: Wanted): TomlTable {
  const after = structuredClone(before);
  for (const { table, key, value } of settings) tableAt(after, table)[key] = value;
  for (const wanted of entries) {
    if (hasEntry(before, wanted)) continue;
    const parent = tableAt(after, wanted.table.slice(0, -1));
    const name = wanted.table.at(-1) ?? '';
    const known = parent[name];
    parent[name] = [...(Array.isArray(known) ? known : []), { ...wanted.entry }];
  }
  return after;
}

function tableAt(root: TomlTable, path: readonly string[]): TomlTable {
  return path.reduce<TomlTable>((table, key) => {
    const known = table[key];
    if (isTable(known)) return known;
    const made: TomlTable = {};
    table[key] = made;
    return made;
  }, root);
}

function expectMeaning(text: string, wanted: TomlTable, path: string): void {
  let found: TomlTable | undefined;
  try {
    found = parse(text);
  } catch {
    found = undefined;
  }
  if (found !== undefined && isSame(found, wanted)) return;
  throw new DrakkarError('unsupported', `${path} is written in a way that is not understood`, {
    hint: 'give each table a header of its own, or make the changes by hand: docs/containerd.md lists them; nothing was changed',
  });
}

function isToml(text: string): boolean {
  try {
    parse(text);
    return true;
  } catch {
    return false;
  }
}

/** What comes of parsing has no prototype, which is no difference. */
const isSame = (one: unknown, other: unknown): boolean => isDeepStrictEqual(plain(one), plain(other));

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
