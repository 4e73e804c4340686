import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodePieceTable, digestOf, isDrakkarError } from '@drakkar/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expandBlob, type StagedFile, VolumeFileWriter } from '../../../src/blob/index.ts';
import { decodeSeekTable, encodeSeekTable } from '../../../src/blob/seek-table.ts';
import { dataSpans } from '../../../src/blob/zeros.ts';

const BLOCK_BYTES = 8192;
const options = { signal: new AbortController().signal };

let folder: string;
let runs = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'drakkar-blob-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Data with repeats and runs of zeros, in whole blocks of 4096. */
const rawData = fc
  .array(
    fc.record({
      bytes: fc.uint8Array({ minLength: 1, maxLength: 700 }),
      repeat: fc.integer({ min: 1, max: 40 }),
    }),
    { minLength: 1, maxLength: 8 },
  )
  .map((parts) => {
    const data = Buffer.concat(
      parts.flatMap(({ bytes, repeat }) => Array.from({ length: repeat }, () => bytes)),
    );
    return Buffer.concat([data, Buffer.alloc((4096 - (data.length % 4096)) % 4096)]);
  });

async function write(data: Buffer, partBytes: number): Promise<StagedFile> {
  const directory = join(folder, `${runs++}`);
  mkdirSync(directory);
  const basePath = join(directory, 'x');
  let reservedBytes = 0;
  const reserve = async (bytes: number) => {
    reservedBytes += bytes;
  };
  const writer = await VolumeFileWriter.create({
    basePath,
    blockBytes: BLOCK_BYTES,
    compressionLevel: 1,
    reserve,
  });
  for (let at = 0; at < data.length; at += partBytes) {
    writer.append(data.subarray(at, at + partBytes));
    await writer.ready();
  }
  const staged = await writer.finish();
  const sizes = [staged.blobPath, staged.piecesPath].map((path) => statSync(path).size);
  expect(reservedBytes).toBeLessThanOrEqual(data.length + sizes.reduce((a, b) => a + b));
  return staged;
}

function expand(staged: StagedFile, blobPath = staged.blobPath, outputPath = `${staged.rawPath}.again`) {
  const table = decodePieceTable(readFileSync(staged.piecesPath));
  return expandBlob({ blobPath, table, file: staged.file, outputPath }, options);
}

describe('a snapshot blob', () => {
  it('expands to what it was made from, is decoded by zstd, and has pieces that cover it', async () => {
    await fc.assert(
      fc.asyncProperty(rawData, fc.integer({ min: 1, max: 20_000 }), async (data, partBytes) => {
        const staged = await write(data, partBytes);
        const { file } = staged;
        expect(readFileSync(staged.rawPath).equals(data)).toBe(true);
        expect(file).toMatchObject({ rawDigest: digestOf(data), rawSizeBytes: data.length });
        const blob = readFileSync(staged.blobPath);
        expect(file).toMatchObject({ blobDigest: digestOf(blob), blobSizeBytes: blob.length });
        const table = decodePieceTable(readFileSync(staged.piecesPath));
        expect(table.pieces.length).toBe(Math.ceil(data.length / BLOCK_BYTES) + 1);
        for (const { offset, length, sha256 } of table.pieces) {
          expect(digestOf(blob.subarray(offset, offset + length))).toBe(sha256);
        }
        await expand(staged);
        expect(readFileSync(`${staged.rawPath}.again`).equals(data)).toBe(true);
        expect(
          execFileSync('zstd', ['-dc', '--', staged.blobPath], { maxBuffer: 1 << 28 }).equals(data),
        ).toBe(true);
        const again = await write(data, partBytes + 1);
        expect(again.file).toEqual(file);
      }),
      { numRuns: 40 },
    );
  });

  it('is refused, and leaves nothing, wherever one byte is wrong', async () => {
    const staged = await write(Buffer.concat([Buffer.alloc(20_480, 'abc'), Buffer.alloc(8192)]), 5000);
    const blob = readFileSync(staged.blobPath);
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: blob.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, flip) => {
          const damaged = Buffer.from(blob);
          damaged[at] = (damaged[at] ?? 0) ^ flip;
          const path = join(folder, 'damaged');
          writeFileSync(path, damaged);
          const output = join(folder, 'output');
          await expect(expand(staged, path, output)).rejects.toSatisfy((error) =>
            isDrakkarError(error, 'invalid_content'),
          );
          expect(readdirSync(folder)).not.toContain('output');
        },
      ),
      { numRuns: 100 },
    );
    writeFileSync(join(folder, 'short'), blob.subarray(0, blob.length - 1));
    await expect(expand(staged, join(folder, 'short'))).rejects.toThrow(/digest/);
  });

  it('is refused when its config promises another content', async () => {
    const staged = await write(Buffer.alloc(4096, 'x'), 4096);
    const other = { ...staged, file: { ...staged.file, rawDigest: digestOf('other') } };
    await expect(expand(other)).rejects.toThrow(/expands to/);
    const larger = { ...staged, file: { ...staged.file, rawSizeBytes: 8192 } };
    await expect(expand(larger)).rejects.toThrow(/instead of 8192/);
  });

  it('leaves holes where there are zeros', async () => {
    const data = Buffer.alloc(4 * 1024 * 1024);
    data.write('end', data.length - 3);
    const staged = await write(data, 1 << 20);
    await expand(staged);
    for (const path of [staged.rawPath, `${staged.rawPath}.again`]) {
      expect(statSync(path).size).toBe(data.length);
      expect(statSync(path).blocks * 512).toBeLessThan(64 * 1024);
    }
  });

  it('fails to be written when space is refused', async () => {
    const writer = await VolumeFileWriter.create({
      basePath: join(folder, 'refused'),
      blockBytes: BLOCK_BYTES,
      compressionLevel: 1,
      reserve: () => Promise.reject(new Error('no space')),
    });
    writer.append(Buffer.alloc(BLOCK_BYTES * 3, 'x'));
    await expect(writer.finish()).rejects.toThrow('no space');
    await writer.close();
  });
});

describe('a seek table', () => {
  const frames = fc.array(
    fc.record({ compressedBytes: fc.nat({ max: 0xffffffff }), rawBytes: fc.nat({ max: 0xffffffff }) }),
  );
  it('reads back', () => {
    fc.assert(
      fc.property(frames, (list) => {
        expect(decodeSeekTable(encodeSeekTable(list))).toEqual(list);
      }),
    );
  });
  it('is refused whatever else it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(() => decodeSeekTable(bytes)).toThrow(/seek table/);
      }),
    );
  });
});

describe('data spans', () => {
  it('cover every byte that is not zero, and no block that is', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(0, 0, 0, 1), { maxLength: 64 }), (pattern) => {
        const bytes = Uint8Array.from(pattern);
        const covered = new Uint8Array(bytes.length);
        for (const { start, end } of dataSpans(bytes, 4)) covered.set(bytes.subarray(start, end), start);
        expect(covered).toEqual(bytes);
        for (const { start } of dataSpans(bytes, 4))
          expect(bytes.subarray(start, start + 4).some((b) => b)).toBe(true);
      }),
    );
  });
});
