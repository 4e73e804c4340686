import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ago,
  bytes,
  duration,
  percentage,
  several,
  shortDigest,
  shortPeer,
} from '../../../console/src/format.ts';

describe('bytes', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.00 kB'],
    [12_400_000_000, '12.4 GB'],
    [999_900, '1.00 MB'],
    [5.31e13, '53.1 TB'],
  ])('%d is %s', (count, text) => expect(bytes(count)).toBe(text));

  test('are never said with more than three digits before the point', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 9e20, noNaN: true }), (count) =>
        /^\d{1,3}(\.\d{1,2})? [kMGTPE]?B$/.test(bytes(count)),
      ),
    );
  });
});

describe('durations', () => {
  test.each([
    [0, '0 ms'],
    [820.4, '820 ms'],
    [1_240, '1.24 s'],
    [59_900, '59.9 s'],
    [59_960, '1 min'],
    [185_000, '3 min 5 s'],
    [7_800_000, '2 h 10 min'],
    [356_400_000, '4 d 3 h'],
  ])('%d ms are %s', (ms, text) => expect(duration(ms)).toBe(text));
});

test('what is not all is not said to be all, and what is something not nothing', () => {
  expect([0, 0.0001, 0.05, 0.5, 0.994, 0.9999, 1].map(percentage)).toEqual([
    '0 %',
    '< 0.1 %',
    '5.0 %',
    '50 %',
    '99.4 %',
    '> 99.9 %',
    '100 %',
  ]);
});

test('how long ago something was, in one unit', () => {
  expect([0, 12_000, 90_000, 7_300_000, 2e8].map((ms) => ago(1e12 - ms, 1e12))).toEqual([
    'just now',
    '12 s ago',
    '1 min ago',
    '2 h ago',
    '2 d ago',
  ]);
});

test('names are short, and still tell things apart', () => {
  expect(shortDigest(`sha256:${'ab'.repeat(32)}`)).toBe('sha256:abababababab');
  expect(shortPeer('12D3KooWAbcdefghij')).toBe('…cdefghij');
  expect([several(1, 'host'), several(2_000, 'host')]).toEqual(['1 host', '2,000 hosts']);
});
