import { describe, expect, test } from 'vitest';
import { conditionsOf } from '../../../src/controller/conditions.ts';
import { ownStatus, writeInMs } from '../../../src/controller/status.ts';
import type { Condition } from '../../../src/index.ts';

const NOW = '2026-03-01T12:00:00.000Z';
const condition = (type: string): Condition => ({
  ...{ type, status: 'True', reason: 'Good', message: 'it is so' },
  ...{ lastTransitionTime: '2026-03-01T11:00:00.000Z', observedGeneration: 1 },
});

describe('what is said of an ImageSnapshot', () => {
  test('leaves out what other controllers say', () => {
    const before = [condition('Scanned'), condition('Ready'), condition('Built')];
    const said = { type: 'Ready', status: 'False', reason: 'Bad', message: 'it is not' } as const;
    expect(conditionsOf(before, [said], 2, NOW)).toEqual([
      { ...said, observedGeneration: 2, lastTransitionTime: NOW },
      condition('Built'),
    ]);
  });

  test('is ours alone, whatever else is there', () => {
    const status = { ready: '1/1', conditions: [condition('Ready')], nodes: undefined };
    const shared = { ...status, scanned: 7, conditions: [condition('Scanned'), condition('Ready')] };
    expect(ownStatus(shared)).toStrictEqual({ ready: '1/1', conditions: [condition('Ready')] });
    expect(writeInMs(shared, 0, status)).toBeUndefined();
  });

  test('is written at once, and every half minute where no more than bytes have moved', () => {
    const item = { image: 'a', platform: 'linux/amd64', phase: 'Distributing' } as const;
    const written = { images: [{ ...item, upstreamBytes: 7 }], nodes: { desired: 2, ready: 0 } };
    const moved = { ...written, images: [{ ...item, upstreamBytes: 9, peerBytes: 1 }] };
    expect(writeInMs(written, 1_000, moved)).toBe(29_000);
    expect(writeInMs(written, 31_000, moved)).toBe(0);
    expect(writeInMs(written, 1_000, { ...moved, nodes: { desired: 2, ready: 1 } })).toBe(0);
    expect(writeInMs(written, 1_000, { ...moved, images: [{ ...item, phase: 'Ready' }] })).toBe(0);
    expect(writeInMs(undefined, Number.POSITIVE_INFINITY, moved)).toBe(0);
  });
});
