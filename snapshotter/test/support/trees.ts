import fc from 'fast-check';
import type { Attributes, Directory, FileContent, Inode } from '../../src/layers/tree.ts';

export const DEVICE_SIZES = [4096 * 4096, 4096 * 512] as const;

const attributes: fc.Arbitrary<Attributes> = fc.record({
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.oneof(fc.constant(0), fc.nat({ max: 0xfffffffe })),
  gid: fc.oneof(fc.constant(0), fc.nat({ max: 0xfffffffe })),
  mtimeSeconds: fc.nat({ max: 2 ** 33 }),
  mtimeNanoseconds: fc.nat({ max: 999_999_999 }),
  xattrs: fc.option(
    fc
      .dictionary(
        fc.constantFrom('user.a', 'user.b', 'security.capability', 'trusted.x', 'system.posix_acl_access'),
        fc.oneof(fc.constant(new Uint8Array([1, 2])), fc.uint8Array({ maxLength: 300 })),
        { minKeys: 1 },
      )
      .map((entries) => new Map(Object.entries(entries))),
    { nil: undefined, freq: 4 },
  ),
});

/** Any content whose chunks lie on {@link DEVICE_SIZES}, in the canonical form that the reader gives. */
const content: fc.Arbitrary<FileContent> = fc
  .record({
    chunkBits: fc.integer({ min: 12, max: 20 }),
    lastBytes: fc.integer({ min: 1, max: 4096 }),
    chunks: fc.array(
      fc.option(fc.record({ device: fc.integer({ min: 0, max: 1 }), slot: fc.nat({ max: 1 }) })),
      {
        maxLength: 40,
      },
    ),
  })
  .map(({ chunkBits, lastBytes, chunks }) => {
    const blocksPerChunk = 2 ** (chunkBits - 12);
    const runs: FileContent['runs'][number][] = [];
    chunks.forEach((chunk, index) => {
      if (chunk === null) return;
      const startBlock = chunk.slot * blocksPerChunk;
      const last = runs.at(-1);
      if (
        last?.device === chunk.device &&
        last.firstChunk + last.chunkCount === index &&
        last.startBlock + last.chunkCount * blocksPerChunk === startBlock
      ) {
        runs[runs.length - 1] = { ...last, chunkCount: last.chunkCount + 1 };
      } else {
        runs.push({ firstChunk: index, chunkCount: 1, device: chunk.device, startBlock });
      }
    });
    const sizeBytes = chunks.length === 0 ? 0 : (chunks.length - 1) * 2 ** chunkBits + lastBytes;
    return { sizeBytes, chunkBits: runs.length === 0 ? 12 : chunkBits, runs };
  });

const name = fc
  .oneof(
    { weight: 8, arbitrary: fc.string({ minLength: 1, maxLength: 20 }) },
    fc.string({ minLength: 200, maxLength: 255 }),
  )
  .map((text) => Buffer.from(text).toString('latin1').slice(0, 255).replace(/[/\0]/g, '!'))
  .filter((text) => text !== '.' && text !== '..');

const leaf: fc.Arbitrary<Inode> = fc.oneof(
  fc.tuple(attributes, content).map(([common, data]): Inode => ({ kind: 'file', ...common, content: data })),
  fc
    .tuple(
      attributes,
      fc.oneof(
        fc.string({ minLength: 1, maxLength: 30 }),
        fc.string({ minLength: 1000, maxLength: 4095, unit: 'binary-ascii' }),
      ),
    )
    .map(
      ([common, target]): Inode => ({
        kind: 'symlink',
        ...common,
        target: Buffer.from(target.replaceAll('\0', '?')).toString('latin1').slice(0, 4095),
      }),
    ),
  fc
    .tuple(
      attributes,
      fc.constantFrom('character' as const, 'block' as const),
      fc.nat({ max: 0xfff }),
      fc.nat({ max: 0xfffff }),
    )
    .map(([common, kind, major, minor]): Inode => ({ kind, ...common, major, minor })),
  attributes.map((common): Inode => ({ kind: 'fifo', ...common })),
);

const directory: fc.Memo<Directory> = fc.memo((depth) =>
  fc
    .tuple(
      attributes,
      fc.uniqueArray(
        fc.tuple(name, depth > 1 ? fc.oneof({ weight: 2, arbitrary: leaf }, directory(depth - 1)) : leaf),
        { selector: ([key]) => key, maxLength: 40 },
      ),
    )
    .map(([common, entries]): Directory => ({ kind: 'directory', ...common, entries: new Map(entries) })),
);

/** Any tree, with hard links among its leaves. */
export const anyTree: fc.Arbitrary<Directory> = fc
  .tuple(directory(4), fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 8 }))
  .map(([root, links]) => {
    const directories: Directory[] = [root];
    const leaves: Inode[] = [];
    for (const open of directories) {
      for (const child of open.entries.values()) {
        if (child.kind === 'directory') directories.push(child);
        else leaves.push(child);
      }
    }
    links.forEach(([from, into], index) => {
      const target = leaves[from % Math.max(1, leaves.length)];
      const place = directories[into % directories.length];
      if (target !== undefined) place?.entries.set(`hard-link-${index}`, target);
    });
    return root;
  });

export function emptyDirectory(entries: Iterable<[string, Inode]> = []): Directory {
  return { kind: 'directory', ...PLAIN, mode: 0o755, entries: new Map(entries) };
}

export const PLAIN: Attributes = {
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeSeconds: 1_700_000_000,
  mtimeNanoseconds: 0,
  xattrs: undefined,
};

/** A tree as comparable data: a path's attributes, and the first path of its hard-link group. */
export function describeTree(root: Directory): Map<string, unknown> {
  const described = new Map<string, unknown>();
  const first = new Map<Inode, string>();
  const pending: [string, Inode][] = [['', root]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, inode] = next;
    const { kind, xattrs, ...rest } = inode;
    const sorted = xattrs === undefined ? [] : [...xattrs].sort(([a], [b]) => (a < b ? -1 : 1));
    const shared = first.get(inode) ?? path;
    first.set(inode, shared);
    described.set(path, {
      ...rest,
      kind,
      entries: undefined,
      shared,
      xattrs: sorted.map(([key, value]) => [key, Buffer.from(value).toString('hex')]),
    });
    if (inode.kind === 'directory') {
      const names = [...inode.entries].sort(([a], [b]) => (a < b ? 1 : -1));
      for (const [key, child] of names) pending.push([`${path}/${key}`, child]);
    }
  }
  return described;
}
