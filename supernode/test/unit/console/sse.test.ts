import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backOffMs, EventParser } from '../../../console/src/sse.ts';

const STREAM = [
  'event: reset\ndata: {}\n\n',
  ': alive\n\n',
  'id: ab-1\nevent: job\ndata: {"a":1}\n\n',
  'id: ab-2\r\nevent: host\r\ndata: one\r\ndata: two\r\n\r\n',
  'data:no blank\n\n',
  'event: nothing\n\n',
].join('');

const EVENTS = [
  { id: null, topic: 'reset', data: '{}' },
  { id: 'ab-1', topic: 'job', data: '{"a":1}' },
  { id: 'ab-2', topic: 'host', data: 'one\ntwo' },
  { id: 'ab-2', topic: 'message', data: 'no blank' },
];

test('reads the same events however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: STREAM.length })), (cuts) => {
      const parser = new EventParser();
      const edges = [0, ...cuts.toSorted((one, other) => one - other), STREAM.length];
      const events = edges.flatMap((edge, index) => parser.push(STREAM.slice(edges[index - 1] ?? 0, edge)));
      expect(events).toEqual(EVENTS);
    }),
  );
});

test('takes no event that never ends', () => {
  const parser = new EventParser();
  expect(() => parser.push(`data: ${'x'.repeat(9 * 1024 * 1024)}`)).toThrow('too long');
});

test('waits longer each time, and not for ever', () => {
  expect([0, 1, 2].map((failures) => backOffMs(failures, 0.5))).toEqual([500, 1000, 2000]);
  expect(backOffMs(1_000, 1)).toBeLessThan(20_000);
});
