import { describe, expect, test } from 'vitest';
import { drawFlameGraph } from '../../src/profile/flame-graph.ts';
import {
  foldPerf,
  foldProfile,
  mergeStacks,
  parseProfile,
  selfTimes,
  totalUs,
} from '../../src/profile/stacks.ts';

const root = new URL('../../../', import.meta.url);
const ALL = [{ fromUs: 0, toUs: 1e9 }];

const frame = (functionName: string, url = '', lineNumber = -1) => ({ functionName, url, lineNumber });
const PROFILE = {
  startTime: 1_000,
  nodes: [
    { id: 1, callFrame: frame('(root)'), children: [2, 3, 4] },
    { id: 2, callFrame: frame('pull', new URL('daemon/src/pull.ts', root).href, 9), children: [5] },
    { id: 3, callFrame: frame('(idle)') },
    { id: 4, callFrame: frame('', 'file:///somewhere/node_modules/it-stream/index.js', 0) },
    { id: 5, callFrame: frame('update', 'node:internal/crypto/hash', 3) },
  ],
  samples: [2, 5, 5, 3, 4, 4],
  timeDeltas: [0, 10, 20, 30, 40, 50],
};

describe('a V8 profile', () => {
  test('is stacks, each of the time until it was looked again, without the place of this tree, and without idling', () => {
    const profile = parseProfile(JSON.stringify(PROFILE));
    expect([...foldProfile(profile, 'daemon', ALL)]).toEqual([
      ['daemon;pull daemon/src/pull.ts:10', 10],
      ['daemon;pull daemon/src/pull.ts:10;update node:internal/crypto/hash', 50],
      ['daemon;(anonymous) it-stream/index.js:1', 50],
    ]);
  });

  test('is looked at within windows', () => {
    const stacks = foldProfile(PROFILE, 'daemon', [{ fromUs: 1_010, toUs: 1_030 }]);
    expect([...stacks]).toEqual([['daemon;pull daemon/src/pull.ts:10;update node:internal/crypto/hash', 20]]);
  });

  test('is not anything else', () => {
    expect(() => parseProfile('{}')).toThrow();
  });
});

test('what perf says is stacks, without hashes and addresses', () => {
  const text = `drakkar-native  123   15.288917:    1003009 cpu-clock:pppH: 
\t    5bd2 zstd_decompress+0x12 (/usr/lib/drakkar/drakkar-native)
\t  21fc2f drakkar::fill::h0123456789abcdef (/usr/lib/drakkar/drakkar-native)

drakkar-native  123   15.289917:    1003009 cpu-clock:pppH: 
\t    5bd2 [unknown] (/usr/lib/drakkar/drakkar-native)

drakkar-native  123   99.000000:    1003009 cpu-clock:pppH: 
\t    5bd2 [unknown] ([unknown])
`;
  expect([...foldPerf(text, 'helper', 1_003, [{ fromUs: 15e6, toUs: 16e6 }])]).toEqual([
    ['helper;drakkar::fill;zstd_decompress', 1_003],
    ['helper;[drakkar-native]', 1_003],
  ]);
});

test('times are added, and what a frame took itself is known', () => {
  const stacks = mergeStacks([
    new Map([
      ['a;b', 5],
      ['a', 1],
    ]),
    new Map([['a;b', 2]]),
  ]);
  expect(totalUs(stacks)).toBe(8);
  expect(selfTimes(stacks)).toEqual([
    ['b', 7],
    ['a', 1],
  ]);
});

describe('a flame graph', () => {
  const stacks = new Map([
    ['daemon;<a> daemon/src/a.ts:1', 750],
    ['daemon;b node:fs', 250],
  ]);

  test('has frames as wide as their time, above what calls them', () => {
    const svg = drawFlameGraph('A & B', stacks);
    const boxes = [
      ...svg.matchAll(/<title>(.*?)<\/title><rect x="([\d.]+)" y="(\d+)" width="([\d.]+)"/g),
    ].map(([, name, x, y, width]) => [name, Number(x), Number(y), Number(width)]);
    expect(boxes).toEqual([
      ['daemon: 100.0 %, 1 ms', 0, 63, 1200],
      ['&lt;a&gt; daemon/src/a.ts:1: 75.0 %, 1 ms', 0, 46, 900],
      ['b node:fs: 25.0 %, 0 ms', 900, 46, 300],
    ]);
    expect(svg).toContain('A &amp; B');
  });

  test('is the same for the same stacks, in whatever order, and of nothing, too', () => {
    const reversed = new Map([...stacks].reverse());
    expect(drawFlameGraph('t', reversed)).toBe(drawFlameGraph('t', stacks));
    expect(drawFlameGraph('t', new Map())).toMatch(/^<svg/);
  });
});
