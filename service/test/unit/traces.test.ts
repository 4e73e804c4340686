import { type DeviceRange, decodeTrace, digestOf, MAX_TRACES, mergeTraces } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { Traces } from '../../src/index.ts';

const layout = digestOf('layout');
const start = { layout, startKey: digestOf('start') };
const at = (block: number): DeviceRange => ({ device: 0, offset: block * 4096, length: 4096 });
const open = (maxBytes = 2 ** 20) => new Traces(':memory:', { maxBytes });
const learned = (traces: Traces, of = start) => decodeTrace(traces.learned(of));

describe('what starts read', () => {
  test('is learned from the last starts, one of each reporter', () => {
    using traces = open();
    expect(learned(traces)).toEqual([]);
    traces.report(start, 'a', [at(1), at(2)], 1);
    expect(learned(traces)).toEqual([{ device: 0, offset: 4096, length: 8192 }]);
    traces.report(start, 'a', [at(9)], 2);
    expect(learned(traces)).toEqual([at(9)]);
    for (let reporter = 0; reporter < MAX_TRACES; reporter += 1) {
      traces.report(start, `b${reporter}`, [at(reporter % 2 === 0 ? 4 : 6)], 3 + reporter);
    }
    expect(learned(traces)).toEqual(
      mergeTraces(Array.from({ length: MAX_TRACES }, (_, index) => [at(index % 2 === 0 ? 4 : 6)])),
    );
  });

  test('by another command is what all known ones have in common', () => {
    using traces = open();
    for (const [index, own] of [20, 30, 40].entries()) {
      traces.report({ layout, startKey: digestOf(`${index}`) }, 'a', [at(1), at(own)], index);
    }
    expect(learned(traces)).toEqual([at(1)]);
    expect(learned(traces, { layout, startKey: digestOf('1') })).toEqual([at(1), at(30)]);
    expect(learned(traces, { layout: digestOf('other'), startKey: digestOf('1') })).toEqual([]);
  });

  test('stays within bounds, and what was traced longest ago goes first', () => {
    using traces = open(1000);
    const of = (index: number) => ({ layout: digestOf(`layout ${index}`), startKey: start.startKey });
    for (let index = 0; index < 10; index += 1) {
      traces.report(
        of(index),
        'a',
        Array.from({ length: 10 }, (_, block) => at(2 * block)),
        index,
      );
    }
    expect(learned(traces, of(9))).toHaveLength(10);
    expect(learned(traces, of(5))).toEqual([]);
    using others = open();
    for (let key = 0; key < 40; key += 1) {
      others.report({ layout, startKey: digestOf(`${key}`) }, 'a', [at(key * 2)], key);
    }
    const own = (key: number) => learned(others, { layout, startKey: digestOf(`${key}`) });
    expect(own(39)).toEqual([at(78)]);
    expect(own(0)).not.toEqual([at(0)]);
  });

  test('says how well it was foreseen, where that is known', () => {
    using traces = open();
    const figures = { touchedBlocks: 10, prefetchedBlocks: 12, hits: 9 };
    traces.report(start, 'first', [at(1)], 5, figures);
    traces.report(start, 'second', [at(1)], 6);
    expect(traces.starts(layout)).toEqual([{ ...figures, startKey: start.startKey, atMs: 5 }]);
  });
});
