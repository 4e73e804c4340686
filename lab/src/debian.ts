import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { digestOf, errnoOf } from '@drakkar/protocol';
import { labCacheDirectory, makeWhole } from './cache.ts';
import { type DebianLayer, describeLayer, tarGzip } from './layer-file.ts';

/** A realistic image on disk: the layers of a Debian system with some packages. */
export interface DebianImage {
  /** Files of the layers, gzip, lowest first. */
  readonly layers: readonly DebianLayer[];
  /** Compressed bytes of all layers. */
  readonly sizeBytes: number;
}

export interface DebianOptions {
  readonly packages: readonly string[];
  /** Kept between runs. Default: {@link labCacheDirectory}. */
  readonly cacheDirectory?: string;
  readonly onStep?: (what: string) => void;
}

const SUITE = 'bookworm';

/** Part of the cache's key: raise it when the layers are made in another way. */
const RECIPE = 1;

/** Which paths stand in which layer; what no pattern takes is the base. As in real images, the top holds the application. */
const UPPER_LAYERS: readonly (readonly string[])[] = [
  ['./usr/share'],
  ['./usr/lib/python3*', './usr/lib/node*', './usr/lib/jvm'],
];

const run = promisify(execFile);

/**
 * Makes the layers with mmdebstrap, or takes them from the cache.
 *
 * @throws with mmdebstrap's own words, where the Debian mirror can't be reached for example
 */
export async function debianImage(options: DebianOptions): Promise<DebianImage> {
  const cache = options.cacheDirectory ?? labCacheDirectory();
  const key = digestOf(JSON.stringify([RECIPE, SUITE, options.packages, UPPER_LAYERS])).slice(7, 23);
  const directory = join(cache, `debian-${key}`);
  const known = await readImage(directory);
  if (known !== undefined) return known;
  options.onStep?.(`making a Debian image with ${options.packages.join(', ')} (kept for the next time)`);
  await makeWhole(directory, (making) => makeLayers(making, options.packages));
  const made = await readImage(directory);
  if (made === undefined) throw new Error(`${directory} vanished while it was made`);
  return made;
}

async function makeLayers(directory: string, packages: readonly string[]): Promise<void> {
  const root = join(directory, 'root');
  const include = packages.length > 0 ? [`--include=${packages.join(',')}`] : [];
  await run('mmdebstrap', ['--variant=minbase', '--quiet', ...include, SUITE, root], {
    maxBuffer: 16 * 1024 ** 2,
  });
  const selections = [[...UPPER_LAYERS.flat().map((pattern) => `--exclude=${pattern}/*`), '.']];
  for (const patterns of UPPER_LAYERS) selections.push(await existing(root, patterns));
  const layers: DebianLayer[] = [];
  for (const members of selections.filter(({ length }) => length > 0)) {
    const path = join(directory, `layer-${layers.length}.tar.gz`);
    await tarGzip(root, members, path);
    layers.push(await describeLayer(path));
  }
  await rm(root, { recursive: true, force: true });
  const relative = layers.map((layer) => ({ ...layer, path: layer.path.slice(directory.length + 1) }));
  await writeFile(join(directory, 'layers.json'), JSON.stringify(relative));
}

async function existing(root: string, patterns: readonly string[]): Promise<string[]> {
  const { stdout } = await run('sh', [
    '-c',
    `cd "$1" && shift && ls -d ${patterns.join(' ')} 2>/dev/null || true`,
    'sh',
    root,
  ]);
  return stdout.split('\n').filter((line) => line !== '');
}

async function readImage(directory: string): Promise<DebianImage | undefined> {
  try {
    const layers = JSON.parse(await readFile(join(directory, 'layers.json'), 'utf8')) as DebianLayer[];
    const absolute = layers.map((layer) => ({ ...layer, path: join(directory, layer.path) }));
    return { layers: absolute, sizeBytes: layers.reduce((total, { sizeBytes }) => total + sizeBytes, 0) };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
