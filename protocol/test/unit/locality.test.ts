import { expect, test } from 'vitest';
import { chanceOf, distance, numberOf } from '../../src/index.ts';

test('distance grows from the narrowest shared place to none', () => {
  const here = { host: 'h', rack: 'r', zone: 'z', region: 'e' };
  const others = [here, { ...here, host: 'x' }, { zone: 'z' }, { region: 'e' }, {}];
  expect(others.map((other) => distance(here, other))).toEqual([0, 1, 2, 3, 4]);
  expect(distance({ row: '1' }, { row: '1' }, ['row'])).toBe(0);
});

test('chance is the same for the same two, and even over many', () => {
  const values = Array.from({ length: 10_000 }, (_, index) => chanceOf(numberOf(`peer-${index}`), 7));
  expect(chanceOf(numberOf('peer-1'), 7)).toBe(values[1]);
  for (const bound of [0.25, 0.5, 0.75])
    expect(values.filter((value) => value < bound).length / values.length).toBeCloseTo(bound, 1);
});

test('everybody draws the lots that the protocol says', () => {
  const number = numberOf('12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf');
  expect(number).toBe(889_493_153);
  expect(chanceOf(number, 0)).toBeCloseTo(0.261_748_66, 7);
  expect(chanceOf(number, 1)).toBeCloseTo(0.595_539_93, 7);
});
