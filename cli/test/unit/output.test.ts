import type { JobDocument } from '@drakkar/client';
import { DrakkarError, type PeerId } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { daemonChecks, diskCheck, kernelChecks } from '../../src/doctor/checks.ts';
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatExpiry,
  formatTable,
} from '../../src/output/format.ts';
import { jobLine } from '../../src/output/jobs.ts';
import { describeFlow, describeReceipt } from '../../src/output/receipt.ts';
import { drawBar, drawStretches, stretches } from '../../src/output/timeline.ts';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [150 * 1024, '150 KiB'],
  [5 * 1024 ** 3, '5.0 GiB'],
])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [1.23, '1.2 ms'],
  [999, '999 ms'],
  [1500, '1.50 s'],
  [125_000, '2 min 5 s'],
])('%d ms are %s', (ms, text) => expect(formatDuration(ms)).toBe(text));

test('ages are rounded down to one unit', () => {
  expect([59_000, 61_000, 7_200_000, 200_000_000].map(formatAge)).toEqual(['59 s', '1 min', '2 h', '2 d']);
});

test('what has expired says so', () => {
  expect([null, 0, 1000, 4000].map((atMs) => formatExpiry(atMs, 1000))).toEqual([
    'never',
    'expired',
    'expired',
    'in 3 s',
  ]);
});

test('hosts that are to give something up do not have it', () => {
  const job = {
    ...{ spec: { kind: 'evict' }, state: 'running', reason: null, resolve: null, build: null },
    ...{ hosts: { total: 3, running: 1, succeeded: 2, failed: 0 }, bytes: { size: 3 * 1024 ** 2 } },
  } as unknown as JobDocument;
  expect(jobLine(job)).toBe('2 of 3 hosts gave it up, 1 at it; 3.0 MiB freed');
  const hosts = { ...job.hosts, running: 0, succeeded: 3 };
  expect(jobLine({ ...job, hosts })).toBe('3 of 3 hosts gave it up; 3.0 MiB freed');
});

test('one is one, and none are some', () => {
  expect([0, 1, 2].map((count) => formatCount(count, 'layer'))).toEqual(['0 layers', '1 layer', '2 layers']);
});

describe('a receipt', () => {
  const alone = {
    storeBytes: 0,
    upstreamBytes: 2048,
    peerBytes: 0,
    joinedBytes: 0,
    discardedBytes: 0,
    peers: [],
    stalls: 0,
    firstByteMs: 12.3,
  };
  const peers = [9, 8, 7, 6, 5].map((kibibytes, index) => ({
    peer: `12D3KooW${index}` as PeerId,
    name: index === 1 ? null : `host-${index}`,
    bytes: kibibytes * 1024,
  }));

  test('of a host that is alone does not speak of others', () => {
    expect(describeReceipt(alone)).toBe('2.0 KiB from the registry, 0 B from the store');
    expect(describeFlow(alone)).toBe('first byte after 12 ms, no stalls');
    expect(describeFlow({ ...alone, firstByteMs: null })).toBe('no byte came, no stalls');
  });

  test('of who came when somebody else had begun says so', () => {
    expect(describeReceipt({ ...alone, upstreamBytes: 0, joinedBytes: 4096 })).toBe(
      '0 B from the registry, 0 B from the store, 4.0 KiB with another request',
    );
  });

  test('names those who gave most', () => {
    expect(describeFlow({ ...alone, stalls: 1, discardedBytes: 100, peers })).toBe(
      'first byte after 12 ms, 1 stall, 100 B thrown away, ' +
        '5 hosts: host-0 9.0 KiB, 12D3KooW1 8.0 KiB, host-2 7.0 KiB, and 2 others',
    );
  });
});

test('a table’s columns line up', () => {
  expect(
    formatTable(
      ['A', 'LONG'],
      [
        ['xxx', 'y'],
        ['z', ''],
      ],
    ),
  ).toBe('A    LONG\nxxx  y\nz');
});

describe('a timeline', () => {
  const marks = [
    { name: 'resolved' as const, atMs: 10 },
    { name: 'mounted' as const, atMs: 60 },
    { name: 'first-output' as const, atMs: 100 },
  ];

  test('is the stretches between its moments', () => {
    expect(stretches(marks)).toEqual([
      { name: 'resolve the tag', fromMs: 0, toMs: 10 },
      { name: 'mount', fromMs: 10, toMs: 60 },
      { name: 'run to first output', fromMs: 60, toMs: 100 },
    ]);
  });

  test('is drawn to one scale', () => {
    expect(
      drawStretches(stretches(marks), 100, 10)
        .split('\n')
        .map((line) => line.slice(23, 33)),
    ).toEqual(['█         ', ' █████    ', '      ████']);
    expect(drawBar(stretches(marks), 200, 20)).toHaveLength(10);
  });

  test('never draws past its width', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(10_000), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 80 }),
        (times, width) => {
          const sorted = times.toSorted((a, b) => a - b).map((atMs) => ({ name: 'mounted' as const, atMs }));
          const totalMs = sorted.at(-1)?.atMs ?? 0;
          expect(drawBar(stretches(sorted), totalMs, width).length).toBeLessThanOrEqual(width);
        },
      ),
    );
  });
});

describe('the doctor', () => {
  const works = { works: true, reason: null };
  const not = { works: false, reason: 'no such file system' };
  const probe = {
    kernel: '5.4.0',
    erofs: works,
    erofsOnFiles: works,
    loopDevices: works,
    overlay: works,
    fuse: works,
    fanotifyPreContent: works,
    backends: ['local'],
  };
  const verdicts = (changed: object) => kernelChecks({ ...probe, ...changed }).map(({ verdict }) => verdict);

  test('says of a kernel without EROFS what to do', () => {
    const [check] = kernelChecks({ ...probe, erofs: not, erofsOnFiles: not });
    expect(check).toMatchObject({ verdict: 'failure', remedy: expect.stringContaining('CONFIG_EROFS_FS') });
  });

  test('accepts loop devices where files can’t be mounted', () => {
    expect(verdicts({ erofsOnFiles: not })).toEqual(['ok', 'ok', 'ok']);
    expect(verdicts({ erofsOnFiles: not, loopDevices: not })).toEqual(['failure', 'ok', 'ok']);
    expect(verdicts({ overlay: not })).toEqual(['ok', 'failure', 'ok']);
  });

  test('says what fills volumes while they are read', () => {
    const finding = (changed: object) => kernelChecks({ ...probe, ...changed }).at(-1)?.finding;
    expect(finding({})).toContain('fanotify');
    expect(finding({ fanotifyPreContent: not })).toContain('FUSE');
    expect(verdicts({ fanotifyPreContent: not })).toEqual(['ok', 'ok', 'ok']);
    expect(verdicts({ fanotifyPreContent: not, fuse: not })).toEqual(['ok', 'ok', 'failure']);
  });

  test('passes on why a daemon does not answer', () => {
    const error = new DrakkarError('unavailable', 'nobody there', { hint: 'drakkar up' });
    expect(daemonChecks(error)).toMatchObject([{ verdict: 'failure', remedy: 'drakkar up' }]);
  });

  test.each([
    [50, 'ok', '50 B of 100 B'],
    [97, 'ok', '97 B of 100 B; the oldest makes room'],
    [140, 'warning', '140 B of 100 B: more than its quota'],
  ])('judges a store of 100 bytes that holds %d', (usedBytes, verdict, finding) => {
    const store = daemonChecks({
      version: '1',
      pid: 1,
      uid: 0,
      stateDirectory: '/s',
      uptimeMs: 1,
      mirrorUrl: 'http://127.0.0.1:1',
      snapshotterSocket: null,
      builderPublicKey: 'k',
      metricsPort: null,
      traffic: { upstreamBytes: 0, downloads: 0 },
      swarm: null,
      store: { quotaBytes: 100, usedBytes },
      native: null,
      nativeError: null,
    }).find(({ name }) => name === 'store');
    expect(store).toMatchObject({ verdict, finding });
    if (verdict === 'warning') expect(store?.remedy).toContain('store.quotaBytes');
  });

  test('warns of a state directory in memory, and of a full disk', () => {
    expect(diskCheck('/s', 0x01021994, 1e12, 1).verdict).toBe('warning');
    expect(diskCheck('/s', 0xef53, 1e9, 1e10).verdict).toBe('warning');
    expect(diskCheck('/s', 0xef53, 1e11, 1e10).verdict).toBe('ok');
  });
});
