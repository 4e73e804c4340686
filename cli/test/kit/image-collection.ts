import { createHash } from 'node:crypto';
import {
  debianImage,
  hostArchitecture,
  type Image,
  type ImageIndex,
  imageOf,
  indexOf,
  type LayerCompression,
  layerOf,
  layerOfFile,
  type TarItem,
  tarArchive,
} from '@drakkar/lab';
import { shellImage } from './image.ts';

/** An image to be looked at from all sides, named so that it fits a repository's name. */
export interface CollectedImage {
  readonly name: string;
  make(): Promise<Image | ImageIndex> | Image | ImageIndex;
}

/** Bytes that no compressor shortens, the same for the same seed. */
export function noise(sizeBytes: number, seed: string): Buffer {
  const blocks = Array.from({ length: Math.ceil(sizeBytes / 32) }, (_, index) =>
    createHash('sha256').update(`${seed} ${index}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, sizeBytes);
}

const file = (name: string, data: string | Buffer = name, more: Partial<TarItem> = {}): TarItem => ({
  name,
  data,
  ...more,
});
const directory = (name: string, more: Partial<TarItem> = {}): TarItem => ({ name, type: '5', ...more });
const symlink = (name: string, linkName: string): TarItem => ({ name, type: '2', linkName });
const hardLink = (name: string, linkName: string): TarItem => ({ name, type: '1', linkName });

const stack = (...layers: readonly (readonly TarItem[])[]): Image =>
  imageOf({ layers: layers.map((items) => layerOf(tarArchive(items))) });

/** A tree in which every compression has something to do, and a gzip member ends within a file. */
const mixed: readonly TarItem[] = [
  directory('etc/'),
  file('etc/text', 'a line of text\n'.repeat(20_000)),
  file('etc/noise', noise(700_000, 'mixed')),
  file('etc/zeros', Buffer.alloc(3_000_000)),
  symlink('bin', 'usr/bin'),
  directory('usr/bin/'),
];

const compressed = (compression: LayerCompression): CollectedImage => ({
  name: `compression-${compression}`,
  make: () => imageOf({ layers: [layerOf(tarArchive(mixed), { compression })] }),
});

/** A foreign platform first: who takes the first of an index gets the wrong tree. */
function platforms(schema: 'oci' | 'docker'): ImageIndex {
  const image = (architecture: string) => ({
    architecture,
    image: imageOf({
      schema,
      architecture,
      layers: [layerOf(tarArchive([file('architecture', architecture), ...mixed]))],
    }),
  });
  return indexOf(['s390x', hostArchitecture(), 'riscv64'].map(image), schema);
}

const debian = (...packages: string[]): CollectedImage => ({
  name: `debian-${packages.join('-')}`,
  async make() {
    const { layers } = await debianImage({ packages });
    return imageOf({ layers: layers.map(layerOfFile) });
  },
});

/** More layers with data than an image may have devices. */
const manyLayers: CollectedImage = {
  name: 'eighty-layers',
  make: () =>
    stack(
      ...Array.from({ length: 80 }, (_, index) => [
        directory('d/', { mtime: 1_500_000_000 + index }),
        file(`d/${index}`, noise(20_000 + index, `layer ${index}`)),
        file('d/top', noise(5000, `top ${index}`)),
      ]),
    ),
};

const whiteouts: CollectedImage = {
  name: 'whiteouts',
  make: () =>
    stack(
      [directory('a/'), file('a/one'), file('a/two'), directory('b/c/'), file('b/c/deep'), file('gone')],
      [
        file('a/.wh.one', ''),
        file('.wh.gone', ''),
        directory('b/'),
        file('b/.wh..wh..opq', ''),
        file('b/new'),
      ],
      [file('a/one', 'again'), directory('b/c/'), file('b/c/other'), file('.wh.never-there', '')],
      [file('.wh.a', ''), directory('e/', { mode: 0o700 }), file('e/f')],
    ),
};

const replacedKinds: CollectedImage = {
  name: 'replaced-kinds',
  make: () =>
    stack(
      [directory('dir/'), file('dir/inside'), file('file'), symlink('link', 'dir'), directory('stays/')],
      [file('dir', 'now a file'), directory('file/'), file('file/inside'), directory('link/')],
      [symlink('file', 'stays'), file('stays/x'), directory('dir/', { uid: 7, gid: 8, mode: 0o2750 })],
    ),
};

/** Each link names its target in its own layer: containerd knows no other. */
const hardLinks: CollectedImage = {
  name: 'hard-links',
  make: () =>
    stack(
      [file('first', noise(50_000, 'first')), hardLink('second', 'first'), hardLink('d/third', 'first')],
      [file('first', 'no longer one of them'), hardLink('fourth', 'first'), file('.wh.second', '')],
      [
        symlink('link', 'd/third'),
        hardLink('of-a-link', 'link'),
        file('d/third', 'x'),
        hardLink('e', 'd/third'),
      ],
    ),
};

/** cap_net_bind_service+ep, as setcap writes it. */
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');

const attributes: CollectedImage = {
  name: 'attributes',
  make: () =>
    stack([
      file('setuid', 'x', { mode: 0o4755, uid: 0, gid: 42 }),
      file('large-ids', 'x', { uid: 4_000_000_000, gid: 3_000_000_000 }),
      file('nanoseconds', 'x', { pax: [['mtime', '1600000000.123456789']] }),
      file('old', 'x', { mtime: 1 }),
      file('after-2106', 'x', { mtime: 5_000_000_000 }),
      file('capability', 'x', { pax: [['SCHILY.xattr.security.capability', CAPABILITY]] }),
      file('user', 'x', {
        pax: [
          ['SCHILY.xattr.user.text', 'value'],
          ['SCHILY.xattr.user.binary', Buffer.from([0, 10, 61, 255])],
          ['SCHILY.xattr.trusted.mine', noise(1000, 'xattr').toString('hex')],
        ],
      }),
      directory('sticky/', { mode: 0o1777, mtime: 1_234_567_890 }),
      { name: 'null', type: '3', major: 1, minor: 3 },
      { name: 'block', type: '4', major: 259, minor: 70_000 },
      { name: 'pipe', type: '6', mode: 0o620 },
    ]),
};

const names: CollectedImage = {
  name: 'names',
  make: () => {
    const long = (name: string, item: TarItem): TarItem => ({ ...item, pax: [['path', name]] });
    const deep = `${'deep/'.repeat(200)}leaf`;
    return stack([
      long('n'.repeat(255), file('n')),
      long('ø'.repeat(127), file('o')),
      long(deep, file('leaf')),
      file('with space, = and \\'),
      { ...symlink('long-target', 'x'), pax: [['linkpath', `${'../'.repeat(1200)}end`]] },
      symlink('nowhere', '/no/such/place'),
      file('.hidden'),
    ]);
  },
};

const sizes: CollectedImage = {
  name: 'sizes',
  make: () => {
    const around = [512, 4096, 65_536, 1024 * 1024, 2 * 1024 * 1024];
    const exact = around.flatMap((size) => [size - 1, size, size + 1]);
    const hole = Buffer.concat([noise(10, 'a'), Buffer.alloc(5_000_000), noise(10, 'b'), Buffer.alloc(123)]);
    return stack(
      [
        file('empty', ''),
        ...exact.map((size) => file(`${size}`, noise(size, `${size}`))),
        file('hole', hole),
      ],
      [file('copy', noise(1024 * 1024, `${1024 * 1024}`)), file('all-zeros', Buffer.alloc(10_000_000))],
    );
  },
};

const wide: CollectedImage = {
  name: 'wide-directory',
  make: () => stack(Array.from({ length: 10_000 }, (_, index) => file(`w/${index}`, `${index % 100}`))),
};

/** At least one of every kind that a registry may hold. What is peculiar to layers has a corpus of its own. */
export const COLLECTION: readonly CollectedImage[] = [
  { name: 'shell', make: () => shellImage() },
  debian('python3', 'python3-numpy'),
  debian('nodejs'),
  manyLayers,
  compressed('none'),
  compressed('gzip'),
  compressed('gzip-members'),
  compressed('zstd'),
  {
    name: 'compressions-mixed',
    make: () =>
      imageOf({
        layers: (['zstd', 'none', 'gzip-members', 'gzip'] as const).map((compression) =>
          layerOf(tarArchive([file(compression, noise(300_000, compression))]), { compression }),
        ),
      }),
  },
  {
    name: 'docker-schema2',
    make: () =>
      imageOf({ schema: 'docker', layers: [layerOf(tarArchive(mixed)), layerOf(tarArchive([file('b')]))] }),
  },
  { name: 'oci-index', make: () => platforms('oci') },
  { name: 'docker-index', make: () => platforms('docker') },
  { name: 'no-layers', make: () => stack() },
  { name: 'same-layer-twice', make: () => stack(mixed, [file('between')], mixed) },
  whiteouts,
  replacedKinds,
  hardLinks,
  attributes,
  names,
  sizes,
  wide,
];
