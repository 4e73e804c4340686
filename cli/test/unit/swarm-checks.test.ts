import type { PeerId } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { type SwarmProbe, swarmChecks } from '../../src/doctor/swarm-checks.ts';

const HOUR_MS = 3_600_000;
const NOW_MS = Date.UTC(2026, 0, 1);
const PROBE: SwarmProbe = { control: true, data: true };
const well = {
  peer: '12D3KooWself' as PeerId,
  supernodes: [],
  supernode: { address: '10.0.0.5:4400/12D3', up: true, downMs: 0, error: null, clockAheadMs: -20 },
  memberUntilMs: NOW_MS + 5 * HOUR_MS,
  knownPeers: 1,
  controlPort: 4402,
  dataPort: 4403,
  uploads: 0,
  exchanges: 0,
  sentBytes: 0,
  receivedBytes: 0,
};

const verdicts = (...args: Parameters<typeof swarmChecks>) =>
  Object.fromEntries(
    swarmChecks(...args).map(({ name, verdict, finding }) => [name, `${verdict}: ${finding}`]),
  );

describe('the doctor', () => {
  test('finds a host that is alone well', () => {
    expect(verdicts(null, PROBE, NOW_MS)).toEqual({
      swarm: 'ok: this host is alone: no supernode is configured (swarm.supernode)',
    });
  });

  test('says how a member stands in its swarm', () => {
    expect(verdicts(well, PROBE, NOW_MS)).toEqual({
      supernode: 'ok: 10.0.0.5:4400/12D3 answers',
      clock: 'ok: 20 ms from the supernode’s',
      membership: 'ok: until 2026-01-01T05:00:00.000Z, 5 h from now',
      'control port': 'ok: 4402; other hosts must be able to reach it',
      'data port': 'ok: 4403; other hosts must be able to reach it',
      'other hosts': 'ok: 1 other host known, which can be asked without a supernode',
    });
  });

  test('says what is not well', () => {
    const supernode = {
      ...well.supernode,
      up: false,
      downMs: 2 * HOUR_MS,
      error: { code: 'unavailable' as const, message: 'nobody there' },
      clockAheadMs: null,
    };
    const ill = { ...well, supernode, memberUntilMs: null };
    expect(verdicts(ill, { control: false, data: true }, NOW_MS)).toMatchObject({
      supernode: 'failure: 10.0.0.5:4400/12D3 has been away for 2 h: nobody there',
      clock: expect.stringMatching(/^warning/),
      membership: 'failure: 12D3KooWself is no member, or not any more',
      'control port': 'failure: nobody answers at 4402',
    });
  });

  test.each([
    ['with what it says to do about it', 'remove its keys/peer.pem', 'remove its keys/peer.pem'],
    ['and what to do about it where it does not say', undefined, 'swarm.joinToken'],
  ])('says that the supernode refuses this host, %s', (_, hint, words) => {
    const error = { code: 'forbidden' as const, message: 'the supernode refuses this host: revoked', hint };
    const refused = { ...well, supernode: { ...well.supernode, up: false, error } };
    const checks = swarmChecks(refused, PROBE, NOW_MS);
    expect(checks[0]).toEqual({
      name: 'supernode',
      verdict: 'failure',
      finding: '10.0.0.5:4400/12D3: the supernode refuses this host: revoked',
      remedy: expect.stringContaining(words),
    });
    expect(verdicts(refused, PROBE, NOW_MS).membership).toMatch(/^failure: .* refuses this host/);
  });

  test('passes on what an error says to do', () => {
    const error = {
      code: 'unavailable' as const,
      message: 'another answers',
      hint: 'correct swarm.supernode',
    };
    const away = { ...well, supernode: { ...well.supernode, up: false, error } };
    expect(swarmChecks(away, PROBE, NOW_MS)[0]?.remedy).toBe('correct swarm.supernode');
  });

  test.each([
    [30_000, 'ok: 30.00 s from'],
    [70_000, 'warning: 1 min 10 s behind'],
    [-70_000, 'warning: 1 min 10 s ahead of'],
    [700_000, 'failure: 11 min 40 s behind'],
  ])('judges a clock that is %d ms away', (clockAheadMs, words) => {
    const { clock } = verdicts({ ...well, supernode: { ...well.supernode, clockAheadMs } }, PROBE, NOW_MS);
    expect(clock).toContain(words);
  });
});
