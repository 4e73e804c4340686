import { describe, expect, test } from 'vitest';
import { knownStatus } from '../../../src/controller/known-status.ts';
import type { PreviousImage } from '../../../src/resources/index.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const IMAGE = { image: 'app', platform: 'linux/amd64', phase: 'Ready', digest: DIGEST } as const;
const PREVIOUS: PreviousImage = {
  ...{ image: `docker.io/library/app@${DIGEST}`, platform: 'linux/amd64' },
  ...{ since: '2026-03-01T12:00:00.000Z', reason: 'Superseded' },
};

describe('what is known of a status', () => {
  test('is all that we have written', () => {
    const status = { observedGeneration: 2, conditions: [], images: [IMAGE], previous: [PREVIOUS] };
    expect(knownStatus(status)).toEqual(status);
    expect(knownStatus(undefined)).toEqual({ conditions: [], images: [], previous: [] });
  });

  test.each([
    { image: '../../etc' },
    { platform: 'x' },
    { digest: 'nope' },
    { manifest: 'sha256:1' },
    { round: 'soon' },
    { keep: { failures: -1, nextAttemptTime: '2026-03-01T12:00:00.000Z' } },
  ])('is no image with %j', (spoilt) => {
    expect(knownStatus({ images: [IMAGE, { ...IMAGE, ...spoilt }] }).images).toEqual([IMAGE]);
  });

  test.each([{ image: '../../etc' }, { image: 'app' }, { platform: 'x' }, { since: 'once' }])(
    'is no previous image with %j',
    (spoilt) => {
      expect(knownStatus({ previous: [{ ...PREVIOUS, ...spoilt }, PREVIOUS] }).previous).toEqual([PREVIOUS]);
    },
  );
});
