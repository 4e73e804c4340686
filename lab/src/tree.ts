import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type BigIntStats, createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { errnoOf } from '@drakkar/protocol';

export type TreeEntryType = 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo' | 'socket';

/** All that a user could notice of one name in a tree. Names, targets and attribute names are bytes as `latin1`. */
export interface TreeEntry {
  readonly type: TreeEntryType;
  /** 0–0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of files and links; 0 for all else. */
  readonly sizeBytes: number;
  readonly mtimeNanoseconds: bigint;
  /** `major:minor` of devices. */
  readonly device: string | undefined;
  readonly linkTarget: string | undefined;
  /** The first of the names in the tree that are one inode; its own name when there is no other. */
  readonly linkGroup: string;
  /** Values in base64. */
  readonly xattrs: ReadonlyMap<string, string>;
  /** Hex digest of a file's content. */
  readonly sha256: string | undefined;
}

/** By path relative to the root, `.` for the root itself. */
export type Tree = ReadonlyMap<string, TreeEntry>;

const FILE_TYPE_MASK = 0o170000n;
const TYPES: ReadonlyMap<bigint, TreeEntryType> = new Map([
  [0o100000n, 'file'],
  [0o040000n, 'directory'],
  [0o120000n, 'symlink'],
  [0o020000n, 'character'],
  [0o060000n, 'block'],
  [0o010000n, 'fifo'],
  [0o140000n, 'socket'],
]);

/** Reads a whole tree, contents included. Names that the system lists but denies are absent, as for `ls`. */
export async function listTree(root: string): Promise<Tree> {
  const xattrs = await readXattrs(root);
  const tree = new Map<string, TreeEntry>();
  const groups = new Map<string, string>();
  const visit = async (path: string): Promise<void> => {
    const real = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]);
    const stats = await lstat(real, { bigint: true }).catch(absent);
    if (stats === undefined) return;
    const type = TYPES.get(stats.mode & FILE_TYPE_MASK);
    if (type === undefined) throw new Error(`${path} is of an unknown type`);
    const inode = `${stats.dev}:${stats.ino}`;
    const linkGroup = (type !== 'directory' && groups.get(inode)) || path;
    groups.set(inode, linkGroup);
    tree.set(path, {
      type,
      mode: Number(stats.mode & 0o7777n),
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      sizeBytes: type === 'file' || type === 'symlink' ? Number(stats.size) : 0,
      mtimeNanoseconds: stats.mtimeNs,
      device: type === 'character' || type === 'block' ? deviceOf(stats) : undefined,
      linkTarget: type === 'symlink' ? (await readlink(real, 'buffer')).toString('latin1') : undefined,
      linkGroup,
      xattrs: xattrs.get(path) ?? new Map(),
      sha256: type !== 'file' ? undefined : (tree.get(linkGroup)?.sha256 ?? (await hashFile(real))),
    });
    if (type !== 'directory') return;
    const names = (await readdir(real, { encoding: 'buffer' })).map((name) => name.toString('latin1'));
    for (const name of names.sort()) await visit(path === '.' ? name : `${path}/${name}`);
  };
  await visit('.');
  return tree;
}

function absent(error: unknown): undefined {
  if (errnoOf(error) !== 'ENOENT') throw error;
  return undefined;
}

/** Source: glibc sys/sysmacros.h. */
function deviceOf({ rdev }: BigIntStats): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

async function hashFile(path: Buffer): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of createReadStream(path)) hash.update(bytes as Buffer);
  return hash.digest('hex');
}

/** One run of `getfattr` for the whole tree: Node cannot read extended attributes. */
async function readXattrs(root: string): Promise<Map<string, Map<string, string>>> {
  const child = spawn('getfattr', ['-d', '-m', '-', '-e', 'base64', '-h', '-R', '-P', '--', '.'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.setEncoding('latin1').on('data', (text: string) => {
    errors = (errors + text).slice(-10_000);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const result = new Map<string, Map<string, string>>();
  let current = new Map<string, string>();
  let rest = '';
  const take = (line: string): void => {
    const path = /^# file: (?:\.\/)?(.*)$/s.exec(line)?.[1];
    if (path !== undefined) {
      current = new Map();
      result.set(unquote(path), current);
    } else if (line !== '') {
      const equals = line.indexOf('=');
      const name = unquote(equals < 0 ? line : line.slice(0, equals));
      current.set(name, equals < 0 ? '' : line.slice(equals + 1).replace(/^0s/, ''));
    }
  };
  for await (const text of child.stdout.setEncoding('latin1')) {
    const lines = (rest + String(text)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  }
  const code = await ended;
  const unexpected = errors
    .split('\n')
    .filter((line) => line !== '' && !line.endsWith('No such file or directory'));
  if (code !== 0 && unexpected.length > 0) throw new Error(`getfattr failed: ${unexpected.join('\n')}`);
  return result;
}

/** `getfattr` writes newlines, `=` in names and backslashes as `\` and three octal digits. */
function unquote(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

export interface CompareOptions {
  /** Directories changed at or after this time, by the second tree, were made in unpacking: their times say nothing. */
  readonly unpackedSinceSeconds?: number;
  /** Differences to list before giving up. Default 50. */
  readonly limit?: number;
}

/**
 * What is different, in words; empty for equal trees. Not compared: sizes of directories, the root's time, and times
 * of directories that no entry of the image names.
 */
export function compareTrees(ours: Tree, theirs: Tree, options: CompareOptions = {}): string[] {
  const differences: string[] = [];
  const limit = options.limit ?? 50;
  const since = BigInt(options.unpackedSinceSeconds ?? Number.MAX_SAFE_INTEGER) * 1_000_000_000n;
  const paths = [...new Set([...ours.keys(), ...theirs.keys()])].sort();
  for (const path of paths) {
    if (differences.length >= limit) return [...differences, 'and more'];
    const left = ours.get(path);
    const right = theirs.get(path);
    const shown = JSON.stringify(Buffer.from(path, 'latin1').toString('utf8'));
    if (left === undefined) differences.push(`${shown} is missing from the first (${right?.type})`);
    else if (right === undefined) differences.push(`${shown} is missing from the second (${left.type})`);
    else {
      const timeCounts = path !== '.' && !(right.type === 'directory' && right.mtimeNanoseconds >= since);
      for (const difference of compareEntries(left, right, timeCounts))
        differences.push(`${shown}: ${difference}`);
    }
  }
  return differences;
}

function compareEntries(ours: TreeEntry, theirs: TreeEntry, timeCounts: boolean): string[] {
  const differences: string[] = [];
  const check = (what: string, left: unknown, right: unknown): void => {
    if (left !== right) differences.push(`${what} is ${String(left)}, and ${String(right)} in the second`);
  };
  check('type', ours.type, theirs.type);
  check('mode', ours.mode.toString(8), theirs.mode.toString(8));
  check('uid', ours.uid, theirs.uid);
  check('gid', ours.gid, theirs.gid);
  check('size', ours.sizeBytes, theirs.sizeBytes);
  check('device', ours.device, theirs.device);
  check('link target', ours.linkTarget, theirs.linkTarget);
  check('hard-link group', ours.linkGroup, theirs.linkGroup);
  check('content', ours.sha256, theirs.sha256);
  if (timeCounts) check('mtime', ours.mtimeNanoseconds, theirs.mtimeNanoseconds);
  for (const name of new Set([...ours.xattrs.keys(), ...theirs.xattrs.keys()]))
    check(`xattr ${name}`, ours.xattrs.get(name), theirs.xattrs.get(name));
  return differences;
}
