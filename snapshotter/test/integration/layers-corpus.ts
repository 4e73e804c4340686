import { type LayerCompression, paxHeader, type TarItem, tarArchive, tarHeader, tarItem } from '@drakkar/lab';

/** One layer: an archive as bytes, and how it travels. */
export interface CorpusLayer {
  readonly tar: Uint8Array;
  /** Default gzip. */
  readonly compression?: LayerCompression;
  /** When it contradicts the compression. */
  readonly mediaType?: string;
}

export interface CorpusImage {
  /** Fit for a repository name. */
  readonly name: string;
  /** What it is about, in words. */
  readonly about: string;
  readonly layers: readonly CorpusLayer[];
  readonly schema?: 'oci' | 'docker';
  /**
   * - `same`: containerd takes it, and our tree is containerd's
   * - `refused`: by both
   * - `ours`: containerd refuses it; ours is what the OCI layer specification means, see `paths`
   */
  readonly expect: 'same' | 'refused' | 'ours';
  /** With `ours`: paths that there are, and those that there are not. */
  readonly paths?: Readonly<Record<string, boolean>>;
}

export type Part = TarItem | Uint8Array;

// Short forms, so that an image reads like a listing.
export const file = (name: string, data = name, more: Partial<TarItem> = {}): TarItem => ({
  name,
  data,
  ...more,
});
export const dir = (name: string, more: Partial<TarItem> = {}): TarItem => ({ name, type: '5', ...more });
export const link = (name: string, linkName: string, more: Partial<TarItem> = {}): TarItem => ({
  name,
  type: '2',
  linkName,
  ...more,
});
export const hard = (name: string, linkName: string, more: Partial<TarItem> = {}): TarItem => ({
  name,
  type: '1',
  linkName,
  ...more,
});
const xattr = (name: string, value: string | Uint8Array): [string, string | Uint8Array] => [
  `SCHILY.xattr.${name}`,
  value,
];
const layer = (...parts: Part[]): CorpusLayer => ({ tar: tarArchive(parts) });

/** cap_net_bind_service+ep, as setcap writes it. */
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');
/** user::rw-, user:1000:rwx, group::r--, mask::rwx, other::r-- */
const ACCESS_ACL = aclOf([1, 6], [2, 7, 1000], [4, 4], [16, 7], [32, 4]);
const DEFAULT_ACL = aclOf([1, 7], [2, 5, 1000], [4, 5], [16, 7], [32, 0]);

function aclOf(...entries: readonly (readonly [tag: number, permissions: number, id?: number])[]): Buffer {
  const value = Buffer.alloc(4 + 8 * entries.length);
  value.writeUInt32LE(2);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    value.writeUInt16LE(tag, 4 + 8 * index);
    value.writeUInt16LE(permissions, 6 + 8 * index);
    value.writeUInt32LE(id ?? 0xffffffff, 8 + 8 * index);
  }
  return value;
}

const images: CorpusImage[] = [];
const add =
  (expect: CorpusImage['expect']) =>
  (name: string, about: string, layers: CorpusLayer[], more: Partial<CorpusImage> = {}): void => {
    images.push({ name, about, layers, expect, ...more });
  };
const same = add('same');
const refused = add('refused');
const ours = add('ours');

// ── Archives and compressions ────────────────────────────────────────────────────────────────────────────────────
const plain = tarArchive([dir('etc/'), file('etc/passwd', 'root'), link('bin', 'usr/bin'), dir('usr/bin/')]);
same('gzip', 'one gzip member', [{ tar: plain, compression: 'gzip' }]);
same('gzip-members', 'a gzip of several members', [{ tar: plain, compression: 'gzip-members' }]);
same('zstd', 'a zstd layer', [{ tar: plain, compression: 'zstd' }]);
same('uncompressed', 'a plain tar', [{ tar: plain, compression: 'none' }]);
same('mislabelled', 'a plain tar that says gzip', [
  { tar: plain, compression: 'none', mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' },
]);
same('docker-schema2', 'a schema 2 manifest', [{ tar: plain }], { schema: 'docker' });
same('no-layers', 'no layers at all', []);
same('empty-layer', 'layers with nothing but an end', [layer(), layer(file('a')), layer()]);
same('zero-bytes', 'a layer of no bytes', [{ tar: Buffer.alloc(0) }, layer(file('a'))]);
same('no-end', 'no end of archive', [{ tar: tarArchive([file('a')], { end: false }) }]);
same('one-zero-block', 'half an end of archive', [
  { tar: Buffer.concat([tarItem(file('a')), Buffer.alloc(512)]) },
]);
same('after-end', 'data after the end of the archive', [
  { tar: Buffer.concat([tarArchive([file('a')]), tarItem(file('hidden')), Buffer.from('garbage')]) },
]);
same('many-layers', 'forty layers', [
  ...Array.from({ length: 40 }, (_, index) =>
    layer(dir('d/', { mtime: 1_500_000_000 + index }), file(`d/${index}`), file('d/top', String(index))),
  ),
]);
refused('truncated-data', 'an end within a file', [
  { tar: tarArchive([file('a', 'x'.repeat(2000))]).subarray(0, 1500) },
]);
refused('truncated-header', 'an end within a header', [{ tar: tarItem(file('a')).subarray(0, 300) }]);
refused('wrong-checksum', 'a header with a wrong checksum', [
  layer(file('a'), tarHeader({ name: 'b', checksum: 'keep' })),
]);
refused('zero-then-header', 'one zero block, then a header', [
  { tar: Buffer.concat([tarItem(file('a')), Buffer.alloc(512), tarItem(file('b'))]) },
]);
refused('negative-size', 'a size below zero', [layer(tarHeader({ name: 'a', size: -1 }))]);
refused('bad-octal', 'a size that is no number', [
  layer(tarHeader({ name: 'a', patch: (block) => block.write('9zzz', 124) })),
]);

// ── Headers ──────────────────────────────────────────────────────────────────────────────────────────────────────
const long = (character: string): string => Array.from({ length: 12 }, () => character.repeat(20)).join('/');
same('v7', 'headers without magic; a name with a slash is a directory', [
  layer(
    file('a', 'x', { format: 'v7', type: '\0' }),
    dir('d/', { format: 'v7', type: '\0' }),
    file('d/f', 'y', { format: 'v7', type: '\0' }),
  ),
]);
same('ustar-prefix', 'a name in two fields', [layer(file('name', 'x', { prefix: 'some/prefix' }))]);
same('gnu-prefix', 'a GNU header with a prefix, as old Go wrote it', [
  layer(file('name', 'x', { format: 'gnu', prefix: 'some/prefix/that/is/no/number' })),
]);
same('signed-checksum', 'the checksum of old Suns', [
  layer(file(Buffer.from([0xe9, 0x41]) as never, 'x', { checksum: 'signed' })),
]);
same('gnu-long', 'GNU long names and links', [
  layer(
    tarItem({ name: '././@LongLink', type: 'L', data: `${long('n')}\0`, format: 'gnu' }),
    file('short', 'x', { format: 'gnu' }),
    tarItem({ name: '././@LongLink', type: 'K', data: `${long('t')}\0`, format: 'gnu' }),
    tarItem({ name: '././@LongLink', type: 'L', data: `${long('l')}\0`, format: 'gnu' }),
    link('short', 'short', { format: 'gnu' }),
  ),
]);
same('pax-long', 'PAX path and linkpath', [
  layer(
    file('short', 'x', { pax: [['path', long('p')]] }),
    link('s', 't', {
      pax: [
        ['path', long('q')],
        ['linkpath', long('r')],
      ],
    }),
    hard('h', 't', { pax: [['linkpath', long('p')]] }),
  ),
]);
same('pax-empty', 'empty PAX values leave the header alone', [
  layer(
    file('kept', 'x', {
      uid: 7,
      pax: [
        ['path', ''],
        ['uid', ''],
        ['mtime', ''],
      ],
    }),
  ),
]);
same('pax-numbers', 'ids over octal, times with fractions', [
  layer(
    file('a', 'x', {
      pax: [
        ['uid', '4000000000'],
        ['gid', '3000000'],
        ['mtime', '1234567890.123456789'],
      ],
    }),
    file('b', 'x', { pax: [['mtime', '1234567890.1234567899999']] }),
    file('c', 'x', { pax: [['mtime', '1234567890.5']] }),
    file('d', 'x', { uid: 3_000_000, gid: 4_000_000_000 }),
  ),
]);
same('pax-size', 'the size in a PAX record only', [
  layer(Buffer.concat([paxHeader([['size', '5']]), tarItem(file('a', 'hello', { size: 0 }))]), file('b')),
]);
same('pax-global', 'a global header changes no entry, but its parent appears', [
  layer(
    file('gone'),
    paxHeader(
      [
        ['uid', '77'],
        ['mtime', '1'],
      ],
      { type: 'g', name: 'seen/pax_global_header' },
    ),
    file('a'),
    paxHeader([['comment', 'removes a file of its name']], { type: 'g', name: 'gone' }),
  ),
]);
same('times', 'before 1970, far away, and at the edge', [
  layer(
    file('old', 'x', { mtime: -1 }),
    file('older', 'x', { pax: [['mtime', '-1.5']] }),
    file('far', 'x', { pax: [['mtime', '9223372037']] }),
    file('edge', 'x', { pax: [['mtime', '9223372036.854775807']] }),
    file('zero', 'x', { mtime: 0 }),
    link('link', 'old', { mtime: 5 }),
    dir('dir/', { mtime: -5 }),
  ),
]);
same('bytes', 'names that are not UTF-8, with spaces, newlines and backslashes', [
  layer(
    { name: Buffer.from([0x66, 0xff, 0xfe]), data: 'x' },
    { name: Buffer.from([0x6c, 0x80]), type: '2', linkName: Buffer.from([0xff, 0x2f, 0x80]) },
    file('with space'),
    file('with\nnewline', 'x', { pax: [xattr('user.a', 'b')] }),
    file('with\\backslash', 'x', { pax: [xattr('user.a', 'b')] }),
    file('émoji-🛶'),
    file(`x${'é'.repeat(127)}`, 'x', { name: '', pax: [['path', `x${'é'.repeat(127)}`]] }),
  ),
]);
refused('name-too-long', 'a name of 256 bytes', [
  layer(file('a', 'x', { pax: [['path', 'n'.repeat(256)]] })),
]);
refused('path-too-long', 'a path over PATH_MAX', [
  layer(file('a', 'x', { pax: [['path', `${'d/'.repeat(2500)}f`]] })),
]);
refused('pax-bad-length', 'a PAX record with a wrong length', [
  layer(tarItem({ name: 'x', type: 'x', data: '99 path=a\n' }), file('a')),
]);
for (const type of ['V', 'Z', '7'])
  refused(`type-${type.toLowerCase()}`, `type ${type}`, [layer({ name: 'a', type })]);

// ── Sparse files ─────────────────────────────────────────────────────────────────────────────────────────────────
const stored = 'A'.repeat(512) + 'B'.repeat(512);
same('sparse-pax-0-0', 'GNU sparse 0.0', [
  layer(
    file('s', stored, {
      pax: [
        ['GNU.sparse.size', '20000'],
        ['GNU.sparse.numblocks', '2'],
        ['GNU.sparse.offset', '4096'],
        ['GNU.sparse.numbytes', '512'],
        ['GNU.sparse.offset', '12288'],
        ['GNU.sparse.numbytes', '512'],
      ],
    }),
    file('next'),
  ),
]);
same('sparse-pax-0-1', 'GNU sparse 0.1', [
  layer(
    file('other', stored, {
      pax: [
        ['GNU.sparse.major', '0'],
        ['GNU.sparse.minor', '1'],
        ['GNU.sparse.name', 'dir/s'],
        ['GNU.sparse.size', '20000'],
        ['GNU.sparse.numblocks', '2'],
        ['GNU.sparse.map', '4096,512,12288,512'],
      ],
    }),
    file('next'),
  ),
]);
const map = Buffer.alloc(512);
map.write('2\n4096\n512\n12288\n512\n');
same('sparse-pax-1-0', 'GNU sparse 1.0', [
  layer(
    file('other', Buffer.concat([map, Buffer.from(stored)]) as never, {
      pax: [
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.name', 's'],
        ['GNU.sparse.realsize', '20000'],
      ],
    }),
    file('next'),
  ),
]);
ours(
  'sparse-old-gnu',
  'GNU sparse type S',
  [
    layer(
      file('s', stored, {
        type: 'S',
        format: 'gnu',
        patch: (block) => {
          for (const [index, number] of [4096, 512, 12288, 512].entries())
            block.write(`${number.toString(8).padStart(11, '0')}\0`, 386 + 12 * index);
          block.write(`${(20000).toString(8).padStart(11, '0')}\0`, 483);
        },
      }),
      file('next'),
    ),
  ],
  { paths: { s: true, next: true } },
);

// ── Kinds and attributes ─────────────────────────────────────────────────────────────────────────────────────────
same('kinds', 'devices, FIFOs, links and odd modes', [
  layer(
    { name: 'char', type: '3', major: 5, minor: 1, mode: 0o620 },
    { name: 'block', type: '4', major: 259, minor: 70_000 },
    { name: 'block-zero', type: '4' },
    { name: 'fifo', type: '6', uid: 3 },
    file('setuid', 'x', { mode: 0o4755, uid: 5 }),
    file('setgid', 'x', { mode: 0o2755, gid: 5 }),
    file('none', 'x', { mode: 0 }),
    dir('sticky/', { mode: 0o1777 }),
    link('dangling', '/no/where', { mode: 0o600, uid: 9, gid: 9 }),
    file('slash/', 'a regular entry with a trailing slash'),
    file('mode-bits', 'x', { mode: 0o100644 }),
    link('sized', 'target', { size: 600 }),
  ),
]);
same('same-owner', 'ids of 2^32-1 leave the owner', [
  layer(
    file('a', 'x', {
      pax: [
        ['uid', '4294967295'],
        ['gid', '4294967295'],
      ],
    }),
    dir('g/', { mode: 0o2755, gid: 50 }),
    file('g/a', 'x', {
      pax: [
        ['uid', '-1'],
        ['gid', '-1'],
      ],
    }),
  ),
]);
same('setgid-parent', 'an implicit directory below a setgid one', [
  layer(
    dir('g/', { mode: 0o2775, gid: 50 }),
    file('g/implicit/f'),
    dir('g/explicit/'),
    file('g/f', 'x', { gid: 3 }),
  ),
]);
same('root-entries', 'entries for the root are ignored', [
  layer(
    dir('./', { mode: 0o700, uid: 5 }),
    dir('/', { mode: 0o700 }),
    dir('../', { uid: 6 }),
    file('./a'),
    file('/b'),
  ),
]);
same('dot-dot', '.. is clamped at the root', [layer(file('../../up'), file('a/../b'), file('c/../../d/e'))]);
same('xattrs', 'which extended attributes stay', [
  layer(
    file('f', 'x', {
      pax: [
        xattr('user.text', 'value'),
        xattr('user.empty', ''),
        xattr('user.binary', Buffer.from([0, 10, 255, 61])),
        xattr('user.overlay.opaque', 'y'),
        xattr('user.na=me', 'v') as never,
        xattr('trusted.dropped', 'x'),
        xattr('unknown.dropped', 'x'),
        xattr('security.capability', CAPABILITY),
        xattr('security.other', 'x'),
      ].filter(([key]) => !String(key).includes('=')),
    }),
    dir('d/', { pax: [xattr('user.d', 'v'), xattr('trusted.overlay.opaque', 'y')] }),
    link('l', 'f', { pax: [xattr('user.l', 'dropped'), xattr('security.l', 'kept')] }),
    { name: 'p', type: '6', pax: [xattr('user.p', 'dropped'), xattr('security.p', 'kept')] },
  ),
]);
refused('capability-malformed', 'a security.capability that Linux refuses', [
  layer(file('f', 'x', { pax: [xattr('security.capability', 'abc')] })),
]);
same('acl', 'POSIX ACLs, which chmod changes and new files inherit', [
  layer(
    file('f', 'x', { mode: 0o640, pax: [xattr('system.posix_acl_access', ACCESS_ACL)] }),
    file('minimal', 'x', { pax: [xattr('system.posix_acl_access', aclOf([1, 7], [4, 7], [32, 7]))] }),
    dir('d/', { mode: 0o750, pax: [xattr('system.posix_acl_default', DEFAULT_ACL)] }),
    file('d/f', 'x', { mode: 0o600 }),
    file('d/implicit/f', 'x', { mode: 0o644 }),
    dir('d/explicit/', { mode: 0o711 }),
    link('d/l', 'f'),
    { name: 'd/p', type: '6', mode: 0o644 },
  ),
  layer(file('d/later', 'x'), file('d/implicit/deep/er', 'x')),
]);

// ── Within a layer ───────────────────────────────────────────────────────────────────────────────────────────────
same('hard-links', 'links share an inode; the last one sets its attributes', [
  layer(
    file('a', 'x', { mode: 0o600, uid: 1 }),
    hard('b', 'a', { mode: 0o755, uid: 2, mtime: 1_400_000_000 }),
    hard('dir/c', './a', { mode: 0o711, uid: 3, mtime: 1_400_000_001 }),
    hard('dir/d', '/dir/../b', { mode: 0o700, uid: 4 }),
  ),
]);
same('hard-link-capability', 'a link drops security.capability unless it has it again', [
  layer(
    file('a', 'x', { pax: [xattr('security.capability', CAPABILITY), xattr('user.k', 'v')] }),
    hard('b', 'a'),
    file('c', 'x', { pax: [xattr('security.capability', CAPABILITY)] }),
    hard('d', 'c', { pax: [xattr('security.capability', CAPABILITY)] }),
  ),
]);
same('hard-link-symlink', 'a hard link to a symbolic link, and through one', [
  layer(link('l', 'dir'), dir('dir/'), file('dir/f'), hard('m', 'l'), hard('n', 'l/f')),
]);
same('hard-link-replaced', 'a name of a group is replaced', [
  layer(file('a'), hard('b', 'a'), file('a', 'new')),
]);
refused('hard-link-missing', 'a hard link to nothing', [layer(hard('b', 'a'))]);
refused('hard-link-later', 'a hard link to what comes later', [layer(hard('b', 'a'), file('a'))]);
refused('hard-link-self', 'a hard link to itself', [layer(file('a'), hard('a', 'a'))]);
refused('hard-link-directory', 'a hard link to a directory', [layer(dir('d/'), hard('b', 'd'))]);
refused('symlink-empty', 'a symbolic link without target', [layer(link('l', ''))]);
same('twice', 'the same path twice', [
  layer(
    file('f', 'one', { pax: [xattr('user.one', '1')] }),
    file('f', 'two', { mode: 0o600 }),
    dir('d/', { mode: 0o700, pax: [xattr('user.one', '1')] }),
    file('d/stays'),
    dir('d/', { mode: 0o755, mtime: 1_300_000_000, pax: [xattr('user.two', '2')] }),
  ),
]);
same('replaced-kinds', 'a file becomes a directory and back within a layer', [
  layer(
    file('a'),
    dir('a/', { mtime: 1_300_000_000 }),
    file('a/f'),
    dir('b/', { mtime: 1_300_000_000 }),
    file('b/f'),
    file('b', 'now a file', { mtime: 1_200_000_000 }),
    dir('c/', { mtime: 1_300_000_000 }),
    link('c', 'a', { mtime: 1_200_000_000 }),
  ),
]);
same('through-link', 'names through a link of the same layer follow it', [
  layer(
    dir('real/'),
    link('link', 'real'),
    file('link/f'),
    link('abs', '/real'),
    file('abs/g'),
    link('up', '../../../real'),
    file('up/h'),
    link('chain', 'link'),
    file('chain/i'),
    link('new', 'not/there/yet'),
    file('new/j'),
    dir('real/sub/'),
    link('deep', 'link/sub/..'),
    file('deep/k'),
    dir('link/', { mtime: 1_300_000_000, mode: 0o700 }),
  ),
]);
refused('link-circle', 'names through links in a circle', [
  layer(link('a', 'b'), link('b', 'a'), file('a/f')),
]);
refused('below-a-file', 'a name below a file of the same layer', [layer(file('a'), file('a/b'))]);
same('escape', 'names and links that would leave the root', [
  layer(
    link('out', '/../../..'),
    file('out/clamped'),
    link('config', '/etc'),
    file('config/inside'),
    hard('h', '../out/clamped'),
  ),
]);

// ── Whiteouts ────────────────────────────────────────────────────────────────────────────────────────────────────
const base = layer(
  dir('d/', { mode: 0o750, uid: 4, gid: 5, pax: [xattr('user.low', '1')] }),
  file('d/a'),
  file('d/b'),
  dir('d/sub/', { mode: 0o711, mtime: 1_300_000_000 }),
  file('d/sub/x'),
  file('f'),
  link('l', 'd'),
);
same('whiteout', 'a name, a directory, a link', [
  base,
  layer(file('d/.wh.a', ''), file('.wh.f', ''), file('.wh.l', ''), file('d/.wh.sub', '')),
]);
same('whiteout-directory', 'a whole directory', [base, layer(file('.wh.d', ''))]);
same('whiteout-then-directory', 'a whiteout and the directory again, in one layer: all shows again', [
  base,
  layer(file('.wh.d', ''), dir('d/'), file('d/new')),
]);
same('whiteout-two-layers', 'a whiteout, and the directory again in the next layer', [
  base,
  layer(file('.wh.d', '')),
  layer(dir('d/'), file('d/new')),
]);
same('whiteout-two-layers-implicit', 'the same with an implicit directory', [
  base,
  layer(file('.wh.d', '')),
  layer(file('d/new')),
]);
same('whiteout-forms', 'with content, as directory, link, hard link', [
  base,
  layer(file('d/.wh.a', 'content'), dir('d/.wh.b/'), link('.wh.f', 'x'), hard('.wh.l', 'nothing')),
]);
same('whiteout-of-nothing', 'of what never was: its parents appear', [
  base,
  layer(file('new/deep/.wh.x', '')),
]);
same('whiteout-lowest', 'in the lowest layer', [
  layer(file('.wh.x', ''), file('a'), file('d/.wh..wh..opq', ''), file('d/f')),
]);
same('opaque', 'hides all below; its own entries stay, wherever it stands', [
  base,
  layer(dir('d/', { mode: 0o700 }), file('d/before'), file('d/.wh..wh..opq', ''), file('d/after')),
]);
same('opaque-implicit', 'in a directory that no entry names', [base, layer(file('d/.wh..wh..opq', ''))]);
same('opaque-root', 'at the root it hides nothing', [base, layer(file('.wh..wh..opq', ''), file('new'))]);
same('opaque-attributes', 'an implicit directory takes attributes from behind an opaque one', [
  base,
  layer(dir('d/'), file('d/.wh..wh..opq', '')),
  layer(file('d/sub/again')),
]);
same('aufs', 'other names of aufs', [
  base,
  layer(file('.wh..wh.aufs', ''), dir('.wh..wh.plnk/'), file('.wh..wh.orph/f'), file('d/.wh..wh.x', 'x')),
]);
same('device-zero', 'a character device 0:0 is a whiteout', [
  base,
  layer({ name: 'f', type: '3' }, { name: 'd/a', type: '3', major: 4096 }, { name: 'own', type: '3' }),
]);
for (const [index, name] of ['.wh.', '.wh..', '.wh...', 'd/.wh.'].entries())
  refused(`whiteout-invalid-${index + 1}`, `a whiteout ${name}`, [base, layer(file(name, ''))]);
ours(
  'whiteout-after',
  'a whiteout after the name was added again',
  [base, layer(file('f', 'new'), file('.wh.f', ''))],
  {
    paths: { f: true },
  },
);
ours(
  'whiteout-after-directory',
  'a whiteout after the directory was added again',
  [base, layer(dir('d/'), file('d/new'), file('.wh.d', ''))],
  { paths: { 'd/new': true, 'd/a': false } },
);
ours(
  'whiteout-above',
  'a name below a whiteout of the same layer',
  [base, layer(file('.wh.d', ''), file('d/new'))],
  {
    paths: { 'd/new': true, 'd/a': false },
  },
);

same('lowest-whiteout-after', 'in the lowest layer a whiteout removes what came before it', [
  layer(file('f'), file('.wh.f', ''), dir('d/'), file('d/x'), file('.wh.d', ''), file('d/y')),
]);
same('lowest-opaque', 'in the lowest layer an opaque mark removes what no entry has named', [
  layer(
    file('d/implicit/f'),
    dir('d/named/'),
    file('d/named/f'),
    file('d/named/implicit/f'),
    file('d/f'),
    file('e'),
    file('.wh.e', ''),
    file('d/.wh..wh..opq', ''),
    file('d/after'),
  ),
]);
same('lowest-opaque-root', 'and so it does at the root', [
  layer(
    file('implicit/f'),
    dir('e/'),
    file('.wh.e', ''),
    file('e/f'),
    dir('named/'),
    file('.wh..wh..opq', ''),
  ),
]);

// ── Across layers ────────────────────────────────────────────────────────────────────────────────────────────────
same('replace-file', 'a file replaced, and its hard links below stay', [
  layer(file('a', 'x'), hard('b', 'a'), hard('c', 'a')),
  layer(file('a', 'new')),
]);
same('file-to-directory', 'a file becomes a directory', [base, layer(dir('f/'), file('f/in'))]);
same('file-to-directory-implicit', 'the same, without an entry for it', [base, layer(file('f/in'))]);
same('directory-to-file', 'a directory becomes a file', [base, layer(file('d'))]);
same('directory-to-link', 'a directory becomes a link', [base, layer(link('d', 'f'))]);
same('directory-file-directory', 'a directory, a file, a directory', [
  base,
  layer(file('d')),
  layer(dir('d/'), file('d/z')),
]);
same('directory-file-implicit', 'the same with an implicit one', [
  base,
  layer(file('d')),
  layer(file('d/z')),
]);
same('lower-link', 'a name below a link of a lower layer replaces the link', [
  layer(dir('usr/bin/', { mode: 0o711 }), file('usr/bin/sh'), link('bin', 'usr/bin')),
  layer(file('bin/tool')),
]);
same('lower-link-explicit', 'the same with an entry for it', [
  layer(dir('usr/bin/'), file('usr/bin/sh'), link('bin', 'usr/bin')),
  layer(dir('bin/'), file('bin/tool')),
]);
same('lower-link-attributes', 'a new directory in the place of a link takes the attributes of where it led', [
  layer(dir('b/', { mode: 0o700, uid: 8, pax: [xattr('user.k', 'v')] }), link('a', 'b')),
  layer(file('a/f')),
]);
same('explicit-directory', 'an entry replaces mode, owner, time and all attributes', [
  base,
  layer(dir('d/', { mode: 0o555, pax: [xattr('user.high', '1')] })),
]);
same('implicit-directory', 'without an entry they are taken over', [base, layer(file('d/sub/y'))]);
same('implicit-then-explicit', 'an entry after the first use adds to what was taken over', [
  base,
  layer(file('d/new'), dir('d/', { mode: 0o555, pax: [xattr('user.high', '1')] })),
]);
same('setgid-below', 'an implicit directory takes a setgid bit over', [
  layer(dir('g/', { mode: 0o2775, gid: 50 })),
  layer(file('g/new/f'), file('g/f', 'x', { pax: [['gid', '-1']] })),
]);
ours('hard-link-lower', 'a hard link to a file of a lower layer', [base, layer(hard('h', 'd/a'))], {
  paths: { h: true, 'd/a': true },
});
same('hard-link-whited-out', 'a hard link to a whiteout is a whiteout', [
  base,
  layer(file('d/.wh.a', ''), hard('h', 'd/a')),
]);

/** Every line of the findings about containerd, one by one. */
export const CORPUS: readonly CorpusImage[] = images;
