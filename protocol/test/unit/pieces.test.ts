import {
  decodePieceTable,
  digestOf,
  encodePieceTable,
  fixedPieceLength,
  type PieceTable,
} from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const MEBIBYTE = 1024 * 1024;

test('pieces are powers of two between 1 and 4 MiB', () => {
  expect(fixedPieceLength(0)).toBe(MEBIBYTE);
  expect(fixedPieceLength(256 * MEBIBYTE)).toBe(MEBIBYTE);
  expect(fixedPieceLength(256 * MEBIBYTE + 1)).toBe(2 * MEBIBYTE);
  expect(fixedPieceLength(1e13)).toBe(4 * MEBIBYTE);
});

const tables = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 0xffffffff }), fc.string()), { maxLength: 20 })
  .map((list): PieceTable => {
    let offset = 0;
    const pieces = list.map(([length, text]) => {
      const piece = { offset, length, sha256: digestOf(text) };
      offset += length;
      return piece;
    });
    return { digest: digestOf('blob'), sizeBytes: offset, pieces };
  });

test('a table survives its wire form', () => {
  fc.assert(
    fc.property(tables, (table) => {
      expect(decodePieceTable(encodePieceTable(table))).toEqual(table);
    }),
  );
});

test('a damaged table is refused, or still consistent', () => {
  fc.assert(
    fc.property(tables, fc.nat(), fc.nat(255), fc.nat(40), (table, at, value, cut) => {
      const bytes = Buffer.from(encodePieceTable(table));
      bytes[at % bytes.length] = value;
      try {
        const read = decodePieceTable(bytes.subarray(0, bytes.length - cut));
        expect(read.pieces.reduce((sum, { length }) => sum + length, 0)).toBe(read.sizeBytes);
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid_content' });
      }
    }),
  );
});
