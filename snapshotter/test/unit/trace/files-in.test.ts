import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import type { DeviceRange } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planErofs } from '../../../src/erofs/index.ts';
import { filesOfTrace } from '../../../src/index.ts';
import type { Directory, FileContent, Inode } from '../../../src/layers/index.ts';
import { filesIn, rangesOf } from '../../../src/trace/files-in.ts';

const BLOCK = 4096;
const ATTRIBUTES = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 0, mtimeNanoseconds: 0, xattrs: undefined };
const { signal } = new AbortController();

const directory = (entries: Record<string, Inode> = {}): Directory => ({
  kind: 'directory',
  ...ATTRIBUTES,
  entries: new Map(Object.entries(entries)),
});
const file = (content: FileContent): Inode => ({ kind: 'file', ...ATTRIBUTES, content });
/** Of one chunk of up to 16 blocks. */
const at = (startBlock: number, sizeBytes: number, device = 0) =>
  file({ sizeBytes, chunkBits: 16, runs: [{ firstChunk: 0, chunkCount: 1, device, startBlock }] });
const range = (block: number, blocks = 1, device = 0): DeviceRange => ({
  device,
  offset: block * BLOCK,
  length: blocks * BLOCK,
});

describe('the files in a range of a device', () => {
  const linked = at(9, 100);
  const root = directory({
    bin: directory({ sh: at(0, 3 * BLOCK), same: at(0, 3 * BLOCK), small: at(3, 10) }),
    empty: file({ sizeBytes: 0, chunkBits: 12, runs: [] }),
    link: linked,
    other: at(0, BLOCK, 1),
    twice: linked,
  });

  test.each<[string, DeviceRange, string[]]>([
    ['are those whose bytes lie there', range(2), ['bin/sh', 'bin/same']],
    ['end where the file does', range(3), ['bin/small']],
    ['are in the order in which they lie there', range(0, 10), ['bin/sh', 'bin/same', 'bin/small', 'link']],
    ['have their first name', range(9), ['link']],
    ['are those of that device', range(0, 1, 1), ['other']],
    ['are none where nothing lies', range(20, 4), []],
    ['are none of a device that is not there', range(0, 1, 7), []],
  ])('%s', (_, wanted, paths) => {
    expect(filesIn(root, [wanted]).map((files) => files.map(({ path }) => path))).toEqual([paths]);
  });

  test('are the same as of who looks at every file', () => {
    const files = fc.array(fc.record({ start: fc.nat(40), size: fc.integer({ min: 1, max: 16 * BLOCK }) }), {
      maxLength: 20,
    });
    const ranges = fc.array(fc.tuple(fc.nat(50), fc.integer({ min: 1, max: 10 })), { maxLength: 5 });
    fc.assert(
      fc.property(files, ranges, (all, wanted) => {
        const tree = directory(
          Object.fromEntries(all.map(({ start, size }, index) => [`f${index}`, at(start, size)])),
        );
        const expected = wanted.map(([block, blocks]) =>
          all.flatMap(({ start, size }, index) => {
            const begins = start * BLOCK < (block + blocks) * BLOCK;
            return begins && start * BLOCK + size > block * BLOCK ? [`f${index}`] : [];
          }),
        );
        const found = filesIn(
          tree,
          wanted.map(([block, blocks]) => range(block, blocks)),
        );
        expect(found.map((files) => files.map(({ path }) => path).sort())).toEqual(
          expected.map((paths) => paths.sort()),
        );
      }),
    );
  });

  test('say which part of the file it is, which leads back to the same range', () => {
    const chunked = file({
      sizeBytes: 5 * BLOCK + 1,
      chunkBits: 13,
      runs: [
        { firstChunk: 0, chunkCount: 1, device: 0, startBlock: 40 },
        { firstChunk: 2, chunkCount: 1, device: 0, startBlock: 20 },
      ],
    });
    const tree = directory({ a: chunked, b: at(60, 3 * BLOCK) });
    expect(filesIn(tree, [range(20, 40), range(61, 9)])).toEqual([
      [
        { path: 'a', offset: 4 * BLOCK, length: BLOCK + 1 },
        { path: 'a', offset: 0, length: 2 * BLOCK },
      ],
      [{ path: 'b', offset: BLOCK, length: 2 * BLOCK }],
    ]);
    const files = filesIn(tree, [range(21, 1), range(41, 1), range(61, 1)]).flat();
    expect(rangesOf(tree, files)).toEqual([range(21, 1), range(41, 1), range(61, 1)]);
    const whole = { path: 'a', offset: 0, length: 1e9 };
    expect(rangesOf(tree, [whole])).toEqual([range(40, 2), range(20, 2)]);
    const strange = ['', '..', 'a/b', 'none'].map((path) => ({ path, offset: 0, length: BLOCK }));
    expect(rangesOf(tree, strange)).toEqual([]);
  });

  test('are read from a meta on disk, which may be none', async () => {
    await using temporary = await temporaryDirectory('trace');
    const metaPath = join(temporary.path, 'meta');
    const image = planErofs({
      root,
      deviceSizes: [32 * BLOCK, 32 * BLOCK],
      uuid: Buffer.alloc(16),
      epochSeconds: 0,
      addressing: 'devices',
    });
    await writeFile(metaPath, Buffer.concat([...image.parts()]));
    expect(await filesOfTrace({ metaPath, ranges: [range(9), range(3)] }, { signal })).toEqual([
      [{ path: 'link', offset: 0, length: 100 }],
      [{ path: 'bin/small', offset: 0, length: 10 }],
    ]);
    await writeFile(metaPath, 'no meta');
    await expect(filesOfTrace({ metaPath, ranges: [] }, { signal })).rejects.toMatchObject({
      code: 'invalid_content',
    });
    await expect(filesOfTrace({ metaPath, ranges: [] }, { signal: AbortSignal.abort() })).rejects.toThrow();
  });
});
