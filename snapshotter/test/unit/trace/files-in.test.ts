import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import type { DeviceRange } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planErofs } from '../../../src/erofs/index.ts';
import { filesOfTrace } from '../../../src/index.ts';
import type { Directory, FileContent, Inode } from '../../../src/layers/index.ts';
import { filesIn } from '../../../src/trace/files-in.ts';

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
    expect(filesIn(root, [wanted])).toEqual([paths]);
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
        expect(found.map((paths) => [...paths].sort())).toEqual(expected.map((paths) => paths.sort()));
      }),
    );
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
      ['link'],
      ['bin/small'],
    ]);
    await writeFile(metaPath, 'no meta');
    await expect(filesOfTrace({ metaPath, ranges: [] }, { signal })).rejects.toMatchObject({
      code: 'invalid_content',
    });
    await expect(filesOfTrace({ metaPath, ranges: [] }, { signal: AbortSignal.abort() })).rejects.toThrow();
  });
});
