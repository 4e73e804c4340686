import type { HostWorkDocument, JobDocument, SwarmHost } from '@drakkar/client';
import { describe, expect, test } from 'vitest';
import { plotsOf } from '../../src/bench/plots.ts';
import { chooseHosts, type MeasureFlags, specOf } from '../../src/bench/request.ts';
import { describeResult, resultOf } from '../../src/bench/result.ts';

const IMAGE = 'registry.example/app:1';
const host = (name: string, state: SwarmHost['state'] = 'connected') => ({ name, state }) as SwarmHost;
const flags = (more: Partial<MeasureFlags> = {}): MeasureFlags => ({
  hosts: 'all',
  platform: undefined,
  most: undefined,
  within: undefined,
  rounds: '1',
  'at-once': undefined,
  stagger: undefined,
  warm: false,
  output: '.',
  ...more,
});
const ALL = { isAll: true, hosts: [], leftOut: [] };

describe('hosts to be measured', () => {
  const known = [host('a'), host('b', 'away'), host('c', 'quarantined'), host('d', 'revoked')];

  test('are all that are there', () => {
    const { hosts, leftOut } = chooseHosts('all', known);
    expect([hosts.map(({ name }) => name), leftOut]).toEqual([['a', 'c'], []]);
  });

  test('are those that are named, each once, and of the others it is said why not', () => {
    const { hosts, leftOut } = chooseHosts('a, x,a,,b ', known);
    expect(hosts.map(({ name }) => name)).toEqual(['a']);
    expect(leftOut).toMatchObject([
      { name: 'x', error: { code: 'not_found' } },
      { name: 'b', error: { code: 'unavailable', message: expect.stringContaining('away') } },
    ]);
  });

  test.each(['', ' , '])('are some: %o', (text) => {
    expect(() => chooseHosts(text, known)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  });
});

describe('what is asked for', () => {
  test('has its bounds', () => {
    const spec = specOf(
      'pull',
      IMAGE,
      ALL,
      flags({ rate: '2MB', most: '1GiB', within: '90s', 'at-once': '3' }),
    );
    expect(spec).toMatchObject({
      kind: 'measure',
      what: 'pull',
      target: {},
      bytesPerSecond: 2_000_000,
      mostBytes: 2 ** 30,
      withinMs: 90_000,
      parallelism: 3,
      staggerMs: 0,
    });
    const named = chooseHosts('a,b', [host('a'), host('b')]);
    expect(specOf('start', IMAGE, named, flags({ stagger: '2s' }))).toMatchObject({
      target: { names: ['a', 'b'] },
      staggerMs: 2_000,
      bytesPerSecond: null,
      mostBytes: null,
      withinMs: null,
    });
  });

  test.each([
    { most: 'much' },
    { within: 'soon' },
    { rate: '-1' },
    { 'at-once': '0' },
    { 'at-once': '1', stagger: '1s' },
  ])('is refused where it makes no sense: %o', (more) => {
    expect(() => specOf('pull', IMAGE, ALL, flags(more))).toThrow(
      expect.objectContaining({ code: 'invalid_argument' }),
    );
  });
});

describe('what came of it', () => {
  const work = (name: string, more: Partial<HostWorkDocument>) =>
    ({
      name,
      state: 'succeeded',
      sizeBytes: 10,
      upstreamBytes: 4,
      peerBytes: 6,
      error: null,
      ...more,
    }) as HostWorkDocument;
  const measured = (elapsedMs: number) => ({
    elapsedMs,
    firstByteMs: 1,
    mountedMs: null,
    hereBytes: 0,
    storeBytes: 0,
    joinedBytes: 0,
    discardedBytes: 0,
  });
  const job = (more: Partial<JobDocument> = {}) =>
    ({ id: 'job', state: 'succeeded', resolved: null, error: null, reason: null, ...more }) as JobDocument;
  const spec = specOf('pull', IMAGE, ALL, flags());
  const at = new Date(0);
  const gone = { code: 'unavailable', message: 'the host is not connected' } as const;

  test('are samples by host, and failures beside them', async () => {
    const rounds = [
      { job: job(), works: [work('b', { measured: measured(200) }), work('a', { measured: measured(100) })] },
      {
        job: job({ state: 'failed' }),
        works: [work('a', { measured: measured(300) }), work('b', { state: 'failed', error: gone })],
      },
    ];
    const leftOut = [{ name: 'x', error: { code: 'not_found', message: 'no host' } }];
    const result = resultOf(spec, rounds, leftOut, at);
    expect(result.series).toMatchObject([
      {
        name: 'a',
        samples: [
          { wallMs: 100, round: 0 },
          { wallMs: 300, round: 1, upstreamBytes: 4, peerBytes: 6 },
        ],
      },
      { name: 'b', samples: [{ wallMs: 200, round: 0 }] },
    ]);
    expect(result.failures).toMatchObject([
      { host: 'x', round: null },
      { host: 'b', round: 1, code: 'unavailable' },
    ]);
    const text = describeResult(result, ['fleet-pull.json']);
    expect(text).toMatch(/the slowest 300 ms/);
    expect(text).toMatch(/b, round 2: the host is not connected/);
    const plots = await plotsOf(result);
    expect([...plots.keys()]).toEqual([
      'fleet-pull.svg',
      'fleet-pull-distribution.svg',
      'fleet-pull-bytes.svg',
    ]);
    for (const svg of plots.values()) expect(svg).toMatch(/^<svg/);
  });

  test('is that it was ended, of hosts that were not done', () => {
    const rounds = [
      {
        job: job({ state: 'cancelled', reason: 'somebody has cancelled it' }),
        works: [work('a', { state: 'cancelled' })],
      },
    ];
    expect(resultOf(spec, rounds, [], at).failures).toMatchObject([{ host: 'a', code: 'cancelled' }]);
  });

  test('is why it could not begin, where no host was asked', async () => {
    const error = { code: 'not_found', message: 'there is no such image' } as const;
    const result = resultOf(spec, [{ job: job({ state: 'failed', error }), works: [] }], [], at);
    expect(result.failures).toEqual([{ host: 'all', round: 0, ...error }]);
    expect((await plotsOf(result)).size).toBe(0);
  });
});
