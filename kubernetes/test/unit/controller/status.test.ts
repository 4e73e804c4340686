import { describe, expect, test } from 'vitest';
import { conditionsOf } from '../../../src/controller/conditions.ts';
import { ownStatus } from '../../../src/controller/status.ts';
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
  });
});
