import {
  type Cut,
  digestOf,
  fixedCut,
  isCutByTable,
  lengthOf,
  MAX_PIECE_BYTES,
  type PieceTable,
  rawOf,
  tableCut,
} from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const tables = fc
  .array(fc.integer({ min: 1, max: MAX_PIECE_BYTES }), { minLength: 1, maxLength: 40 })
  .map((lengths): PieceTable => {
    let offset = 0;
    const pieces = lengths.map((length, piece) => {
      const start = offset;
      offset += length;
      return { offset: start, length, sha256: digestOf(`piece ${piece}`) };
    });
    return { digest: digestOf('blob'), sizeBytes: offset, pieces };
  });
const cuts = fc.oneof(tables.map(tableCut), fc.integer({ min: 1, max: 3e9 }).map(fixedCut));

/** What everybody who cuts a blob relies on. */
function requireWhole(cut: Cut): void {
  let at = 0;
  for (let piece = 0; piece < cut.pieceCount; piece += 1) {
    expect(cut.start(piece)).toBe(at);
    expect(lengthOf(cut, piece)).toBeGreaterThan(0);
    expect(lengthOf(cut, piece)).toBeLessThanOrEqual(cut.longestPieceBytes);
    expect(cut.pieceAt(at)).toBe(piece);
    expect(cut.pieceAt(cut.end(piece) - 1)).toBe(piece);
    at = cut.end(piece);
  }
  expect(at).toBe(cut.sizeBytes);
  for (const beyond of [cut.pieceCount, cut.pieceCount + 7, 999_999_999]) {
    expect([cut.start(beyond), cut.end(beyond)]).toEqual([cut.sizeBytes, cut.sizeBytes]);
  }
}

test('the pieces of a cut are the blob, without gap or overlap', () => {
  fc.assert(fc.property(cuts, requireWhole));
});

test('an empty blob has no pieces', () => {
  requireWhole(fixedCut(0));
  expect(fixedCut(0).pieceCount).toBe(0);
});

test('a table says what each piece hashes to, and a size says nothing', () => {
  fc.assert(
    fc.property(tables, (table) => {
      const cut = tableCut(table);
      for (const [piece, { sha256 }] of table.pieces.entries()) {
        expect(Buffer.from(cut.sha256(piece) ?? []).equals(rawOf(sha256))).toBe(true);
      }
      expect(cut.sha256(table.pieces.length)).toBeUndefined();
      expect(isCutByTable(cut)).toBe(true);
      expect(isCutByTable(fixedCut(table.sizeBytes))).toBe(false);
    }),
  );
});

test('a piece that no host would give is refused', () => {
  const length = MAX_PIECE_BYTES + 1;
  const pieces = [{ offset: 0, length, sha256: digestOf('piece') }];
  expect(() => tableCut({ digest: digestOf('blob'), sizeBytes: length, pieces })).toThrow(/limit/);
});
