import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDrakkarError } from '@drakkar/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_BYTES, INODE_BYTES } from '../../../src/erofs/format.ts';
import { planErofs, readErofs } from '../../../src/erofs/index.ts';
import type { Directory, Inode } from '../../../src/layers/tree.ts';
import { anyTree, DEVICE_SIZES, describeTree, emptyDirectory, PLAIN } from '../../support/trees.ts';

const COMMON = { uuid: Buffer.from('0123456789abcdef'), epochSeconds: 1_700_000_000 };

function write(root: Directory, addressing: 'devices' | 'flat' = 'devices'): Buffer {
  const image = planErofs({ root, deviceSizes: DEVICE_SIZES, ...COMMON, addressing });
  const bytes = Buffer.concat([...image.parts()]);
  expect(bytes.length).toBe(image.sizeBytes);
  return bytes;
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'drakkar-erofs-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function fsck(image: Buffer): void {
  const meta = join(folder, 'meta');
  writeFileSync(meta, image);
  const devices = DEVICE_SIZES.map((size, index) => {
    const path = join(folder, `device-${index}`);
    writeFileSync(path, '');
    truncateSync(path, size);
    return `--device=${path}`;
  });
  execFileSync('fsck.erofs', ['--extract', ...devices, meta], { stdio: 'pipe' });
}

describe('an EROFS image', () => {
  it('reads back as the tree it was written from', () => {
    fc.assert(
      fc.property(anyTree, (root) => {
        const image = write(root);
        expect(describeTree(readErofs(image).root)).toEqual(describeTree(root));
        expect(write(root).equals(image)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('is accepted by fsck.erofs', () => {
    fc.assert(
      fc.property(anyTree, (root) => fsck(write(root))),
      { numRuns: 60 },
    );
  });

  it('is accepted by fsck.erofs when the last inode ends a block', () => {
    const fifos = (count: number) =>
      emptyDirectory(Array.from({ length: count }, (_, index) => [`${index}`, { kind: 'fifo', ...PLAIN }]));
    const endsBlock = (root: Directory) => {
      const { layout } = planErofs({ root, deviceSizes: DEVICE_SIZES, ...COMMON, addressing: 'devices' });
      return ((layout.offsets.at(-1) ?? 0) + INODE_BYTES) % BLOCK_BYTES === 0;
    };
    const roots = Array.from({ length: 200 }, (_, count) => fifos(count)).filter(endsBlock);
    expect(roots.length).toBeGreaterThan(0);
    for (const root of roots) fsck(write(root));
  });

  it('holds a directory of 30,000 names and a tree of 5,000 levels', () => {
    const wide = emptyDirectory();
    for (let index = 0; index < 30_000; index++) wide.entries.set(`n${index}`, { kind: 'fifo', ...PLAIN });
    const root = emptyDirectory([['wide', wide]]);
    let deepest = root;
    for (let level = 0; level < 5000; level++) {
      const next = emptyDirectory();
      deepest.entries.set('d', next);
      deepest = next;
    }
    const image = write(root);
    const back = readErofs(image);
    expect(back.inodeCount).toBe(35_002);
    expect(back.root.entries.get('wide')).toEqual(wide);
  });

  it('holds a sparse file of 8 PiB in a few bytes', () => {
    const sizeBytes = 2 ** 53 - 1;
    const file: Inode = { kind: 'file', ...PLAIN, content: { sizeBytes, chunkBits: 12, runs: [] } };
    const image = write(emptyDirectory([['sparse', file]]));
    expect(image.length).toBeLessThan(64 * 1024);
    expect(readErofs(image).root.entries.get('sparse')).toMatchObject({ content: { sizeBytes, runs: [] } });
  });

  it('refuses more chunks than the limit', () => {
    const runs = [{ firstChunk: 0, chunkCount: 1, device: 0, startBlock: 0 }];
    const file: Inode = { kind: 'file', ...PLAIN, content: { sizeBytes: 2 ** 45, chunkBits: 12, runs } };
    expect(() => write(emptyDirectory([['sparse', file]]))).toThrow(/chunks/);
  });

  it('names every block of the devices in the flat form', () => {
    const runs = [{ firstChunk: 0, chunkCount: 1, device: 1, startBlock: 7 }];
    const file: Inode = { kind: 'file', ...PLAIN, content: { sizeBytes: 4096, chunkBits: 12, runs } };
    const root = emptyDirectory([['file', file]]);
    const { devices } = readErofs(write(root));
    const flat = write(root, 'flat');
    const block = (devices[1]?.unifiedBlock ?? 0) + 7;
    const index = Buffer.alloc(8);
    index.writeUInt32LE(block, 4);
    expect(flat.includes(index)).toBe(true);
    expect(devices[0]?.unifiedBlock).toBe(flat.length / 4096);
  });

  it('never brings the reader down, whatever is damaged', () => {
    fc.assert(
      fc.property(
        anyTree,
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 20 }),
        fc.boolean(),
        (root, damage, inInodes) => {
          const image = write(root);
          for (const [at, value] of damage) {
            image[inInodes ? 4096 + (at % (image.length - 4096)) : at % image.length] = value;
          }
          try {
            readErofs(image);
          } catch (error) {
            expect(isDrakkarError(error, 'invalid_content') || isDrakkarError(error, 'limit_exceeded')).toBe(
              true,
            );
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('is refused when it is cut short', () => {
    const image = write(emptyDirectory([['fifo', { kind: 'fifo', ...PLAIN }]]));
    for (const length of [0, 1000, 1100, 4096]) {
      expect(() => readErofs(image.subarray(0, length))).toThrow();
    }
  });
});
