import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import {
  compareTrees,
  type ImageLayer,
  layerOf,
  listTree,
  noise,
  type TarItem,
  tarArchive,
  temporaryDirectory,
} from '@drakkar/lab';
import { decodePieceTable, digestOf, isDrakkarError } from '@drakkar/protocol';
import { describe, expect, it } from 'vitest';
import { type BuildResult, expandBlob, readErofs, streamFlat } from '../../src/index.ts';
import { type BuildOptions, buildLayers } from '../support/builds.ts';
import { mountErofs } from '../support/mounts.ts';
import { mergeLayers } from '../unit/layers/support.ts';
import { CORPUS } from './layers-corpus.ts';

const signal = new AbortController().signal;

const lower: TarItem[] = [
  { name: 'bin/', type: '5' },
  { name: 'bin/tool', mode: 0o4755, uid: 70_000, gid: 80_000, data: noise(300_000, 'tool') },
  { name: 'bin/again', data: noise(300_000, 'tool') },
  { name: 'bin/linked', type: '1', linkName: 'bin/tool' },
  { name: 'empty' },
  { name: 'zeros', data: Buffer.alloc(5_000_000) },
  {
    name: 'large',
    data: Buffer.concat([noise(2_500_000, 'large'), Buffer.alloc(2_000_000), noise(77, 'end')]),
  },
  { name: 'link', type: '2', linkName: 'bin/tool' },
  { name: 'null', type: '3', major: 1, minor: 3 },
  { name: 'pipe', type: '6' },
  {
    name: 'caps',
    data: 'x',
    pax: [['SCHILY.xattr.security.capability', Buffer.from('AQAAAgAgAAAAAAAAAAAAAAAAAAA=', 'base64')]],
  },
  { name: 'timed', data: 'y', pax: [['mtime', '1500000000.123456789']] },
  ...Array.from({ length: 400 }, (_, index) => ({
    name: `many/file-${index}-${'n'.repeat(40)}`,
    data: `${index}`,
  })),
];
const upper: TarItem[] = [
  { name: 'bin/copy', data: noise(300_000, 'tool') },
  { name: 'bin/new', data: noise(100_000, 'new') },
  { name: '.wh.empty' },
];
const metadataOnly: TarItem[] = [{ name: 'made/', type: '5' }];
const tars = [tarArchive(lower), tarArchive(metadataOnly), tarArchive(upper)];
const layers: ImageLayer[] = [
  layerOf(tars[0] ?? Buffer.alloc(0), { compression: 'gzip-members' }),
  layerOf(tars[1] ?? Buffer.alloc(0), { compression: 'none' }),
  layerOf(tars[2] ?? Buffer.alloc(0), { compression: 'zstd' }),
];

function rawPaths(result: BuildResult): string[] {
  return result.devices.map(({ rawPath }) => rawPath);
}

describe('a built snapshot', () => {
  it('mounts as the merged tree of its layers, with one device per layer that has data', async () => {
    await using directory = await temporaryDirectory('build');
    const result = await buildLayers(layers, directory.path);
    expect(result.devices.length).toBe(2);
    const options = rawPaths(result).map((path) => `--device=${path}`);
    execFileSync('fsck.erofs', ['--extract', ...options, result.meta.rawPath], { stdio: 'pipe' });
    using mounted = mountErofs(result.meta.rawPath, rawPaths(result));
    expect(compareTrees(await listTree(mounted.path), await mergeLayers(tars))).toEqual([]);
  });

  it('stores the same chunk once, and no chunk of zeros', async () => {
    await using directory = await temporaryDirectory('build');
    const { stats, config } = await buildLayers(layers, directory.path);
    expect(stats.dedupedBytes).toBe(600_000);
    expect(stats.holeBytes).toBeGreaterThanOrEqual(5_000_000 + 1024 * 1024);
    const stored = stats.fileBytes - stats.dedupedBytes - stats.holeBytes;
    const deviceBytes = config.devices.reduce((sum, { rawSizeBytes }) => sum + rawSizeBytes, 0);
    expect(deviceBytes).toBeLessThan(stored + stats.chunks * 4096);
    expect(statSync(join(directory.path, 'device-0.raw')).blocks * 512).toBeLessThanOrEqual(deviceBytes);
  });

  it('has the same bytes every time, however its layers arrive', async () => {
    const digests: string[] = [];
    for (const partBytes of [1_000_000, 777]) {
      await using directory = await temporaryDirectory('build');
      const { files } = await buildLayers(layers, directory.path, { partBytes });
      expect(readdirSync(directory.path).length).toBe(files.length);
      for (const { path, digest, sizeBytes } of files) {
        const bytes = readFileSync(path);
        expect(bytes.length).toBe(sizeBytes);
        expect(digestOf(bytes)).toBe(digest);
      }
      digests.push(files.map(({ digest }) => digest).join());
    }
    expect(new Set(digests).size).toBe(1);
  });

  it('comes back out of its blobs', async () => {
    await using directory = await temporaryDirectory('build');
    const { meta, devices } = await buildLayers(layers, directory.path);
    for (const { file, blobPath, piecesPath, rawPath } of [meta, ...devices]) {
      const outputPath = `${rawPath}.expanded`;
      const table = decodePieceTable(readFileSync(piecesPath));
      await expandBlob({ blobPath, table, file, outputPath }, { signal });
      expect(readFileSync(outputPath).equals(readFileSync(rawPath))).toBe(true);
    }
    expect(readErofs(readFileSync(meta.rawPath)).root.entries.has('large')).toBe(true);
  });

  it('exports as one flat image that mounts as the same tree', async () => {
    await using directory = await temporaryDirectory('build');
    const result = await buildLayers(layers, directory.path);
    const source = { metaPath: result.meta.rawPath, devicePaths: rawPaths(result) };
    const path = join(directory.path, 'flat');
    const { sizeBytes, bytes } = await streamFlat(source, { signal });
    await writeFile(path, bytes);
    expect(statSync(path).size).toBe(sizeBytes);
    execFileSync('fsck.erofs', ['--extract', path], { stdio: 'pipe' });
    using mounted = mountErofs(path);
    expect(compareTrees(await listTree(mounted.path), await mergeLayers(tars))).toEqual([]);
  });

  it('says why a damaged snapshot cannot be exported, and ends with its caller', async () => {
    await using directory = await temporaryDirectory('build');
    const { meta } = await buildLayers(layers, directory.path);
    const source = { metaPath: meta.rawPath, devicePaths: [] };
    await expect(streamFlat(source, { signal })).rejects.toMatchObject({ code: 'invalid_argument' });
    await truncate(meta.rawPath, 1000);
    await expect(streamFlat(source, { signal })).rejects.toMatchObject({ code: 'invalid_content' });
    const leaving = new AbortController();
    const export_ = streamFlat(source, { signal: leaving.signal });
    leaving.abort();
    await expect(export_).rejects.toMatchObject({ code: 'cancelled' });
  });

  it.each(CORPUS.filter(({ expect: wanted }) => wanted === 'same'))(
    'equals the merged tree: $name ($about)',
    async ({ layers: given }) => {
      await using directory = await temporaryDirectory('build');
      const corpus = given.map(({ tar, ...options }) => layerOf(tar, options));
      const result = await buildLayers(corpus, directory.path);
      using mounted = mountErofs(result.meta.rawPath, rawPaths(result));
      const tree = await mergeLayers(given.map(({ tar }) => tar));
      expect(compareTrees(await listTree(mounted.path), tree)).toEqual([]);
    },
  );

  it('joins layers so that an image never has more than 64 devices', async () => {
    await using directory = await temporaryDirectory('build');
    const many = Array.from({ length: 100 }, (_, index) =>
      layerOf(tarArchive([{ name: `f${index}`, data: noise(1000 + index, `${index}`) }])),
    );
    const result = await buildLayers(many, directory.path);
    expect(result.devices.length).toBe(64);
    using mounted = mountErofs(result.meta.rawPath, rawPaths(result));
    const tree = await listTree(mounted.path);
    for (let index = 0; index < 100; index++) {
      expect(tree.get(`f${index}`)?.sha256).toBe(digestOf(noise(1000 + index, `${index}`)).slice(7));
    }
  });

  it('is possible of an image without layers', async () => {
    await using directory = await temporaryDirectory('build');
    const result = await buildLayers([], directory.path);
    using mounted = mountErofs(result.meta.rawPath);
    expect(readdirSync(mounted.path)).toEqual([]);
  });
});

describe('a build that fails', () => {
  const good = layers[0] ?? layerOf(Buffer.alloc(0));
  const gzip = gzipSync(tars[0] ?? Buffer.alloc(0));
  const tar = tars[0] ?? Buffer.alloc(0);
  const withBytes = (content: Uint8Array): ImageLayer => ({ ...good, content, sizeBytes: content.length });
  const corrupt = (bytes: Buffer, at: number) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 0xff;
    return copy;
  };

  const cases: [name: string, layer: ImageLayer, message: RegExp, options?: BuildOptions][] = [
    ['truncated gzip', withBytes(gzip.subarray(0, gzip.length - 100)), /gzip data is corrupt or truncated/],
    ['corrupt gzip', withBytes(corrupt(gzip, gzip.length >> 1)), /gzip data|unpacks to|checksum/],
    ['garbage after gzip', withBytes(Buffer.concat([gzip, Buffer.from('garbage')])), /gzip data/],
    ['truncated zstd', withBytes(zstdCompressSync(tar).subarray(0, 5000)), /zstd/],
    ['a corrupt tar header', withBytes(corrupt(tar, 600)), /.*/],
    [
      'a truncated tar',
      { ...withBytes(tar.subarray(0, 5000)), diffId: digestOf(tar.subarray(0, 5000)) },
      /ends/,
    ],
    ['another diff id', { ...good, diffId: digestOf('other') }, /unpacks to/],
    ['a size that is too small', { ...good, sizeBytes: good.sizeBytes - 1 }, /.*/],
    ['a size that is too large', { ...good, sizeBytes: good.sizeBytes + 1 }, /bytes that the manifest says/],
    ['a bomb', good, /decompression bomb/, { request: { limits: { freeBytes: 1000, expansionRatio: 2 } } }],
    ['too many entries', good, /entries/, { request: { limits: { entries: 100 } } }],
    ['no diff id', good, /config/, { request: { diffIds: [] } }],
    ['no memory', good, /memory/, { request: { heapMebibytes: 8 } }],
  ];
  it.each(cases)('names image and reason, and leaves nothing: %s', async (name, layer, message, options) => {
    await using directory = await temporaryDirectory('build');
    const building = buildLayers([layer], directory.path, options);
    await expect(building).rejects.toSatisfy((error) => isDrakkarError(error));
    await expect(building).rejects.toThrow(message);
    await expect(building).rejects.toThrow(/test\.example\/image:1/);
    if (!/size|diff id|memory/.test(name)) await expect(building).rejects.toThrow(/layer 1 of 1 \(sha256:/);
    expect(readdirSync(directory.path)).toEqual([]);
  });

  it('passes on the error of the layer’s source, and of a refused reservation', async () => {
    await using directory = await temporaryDirectory('build');
    const openLayer = async function* () {
      yield Buffer.alloc(10);
      throw new Error('the registry is gone');
    };
    await expect(buildLayers(layers, directory.path, { modules: { openLayer } })).rejects.toThrow(
      'the registry is gone',
    );
    const reserve = () => Promise.reject(new Error('the quota is used up'));
    await expect(buildLayers(layers, directory.path, { modules: { reserve } })).rejects.toThrow(
      'the quota is used up',
    );
    expect(readdirSync(directory.path)).toEqual([]);
  });

  it('ends when it is cancelled', async () => {
    await using directory = await temporaryDirectory('build');
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error('enough'));
    const building = buildLayers(layers, directory.path, {
      modules: { onProgress },
      signal: controller.signal,
    });
    await expect(building).rejects.toThrow('enough');
    expect(readdirSync(directory.path)).toEqual([]);
  });

  it('says so when the builder is killed', async () => {
    await using directory = await temporaryDirectory('build');
    const onProgress = () => {
      for (const pid of childrenOf(process.pid)) {
        if (readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('builder-process'))
          process.kill(pid, 'SIGKILL');
      }
    };
    const building = buildLayers(layers, directory.path, { modules: { onProgress } });
    await expect(building).rejects.toThrow(/ended by SIGKILL/);
    expect(readdirSync(directory.path)).toEqual([]);
  });

  it('gives up on a builder that does nothing', async () => {
    await using directory = await temporaryDirectory('build');
    const onProgress = () => {
      for (const pid of childrenOf(process.pid)) {
        if (readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('builder-process'))
          process.kill(pid, 'SIGSTOP');
      }
    };
    const building = buildLayers(layers, directory.path, {
      request: { stallTimeoutMs: 1000 },
      modules: { onProgress },
    });
    await expect(building).rejects.toSatisfy((error) => isDrakkarError(error, 'timeout'));
    expect(readdirSync(directory.path)).toEqual([]);
  });
});

function childrenOf(pid: number): number[] {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').split(' ').filter(Boolean).map(Number),
  );
}
