import { LOCALITY_LABELS } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Scene, simulate } from '../../src/simulator/simulate.ts';

const MEBIBYTE = 1024 * 1024;
const scene = (hosts: number, more: Partial<Scene> = {}): Scene => ({
  hosts,
  pieces: 64,
  pieceBytes: MEBIBYTE,
  linkBytesPerSecond: 12.5e6,
  latencyMs: () => 1,
  untilMs: 3_600_000,
  ...more,
});
const idealMs = ({ pieces, pieceBytes, linkBytesPerSecond }: Scene) =>
  (pieces * pieceBytes * 1000) / linkBytesPerSecond;
const slowest = (finishedMs: readonly (number | undefined)[]) =>
  Math.max(...finishedMs.map((ms) => ms ?? Number.POSITIVE_INFINITY));

describe('a simulated swarm', () => {
  test.each([2, 3, 8, 24, 100, 500])(
    'of %d hosts converges, and the registry gives each byte once',
    (hosts) => {
      const given = scene(hosts);
      const { finishedMs, originBytes, mostUploads } = simulate(given);
      expect(originBytes).toBe(given.pieces * given.pieceBytes);
      expect(mostUploads).toBeLessThanOrEqual(8);
      expect(slowest(finishedMs) / idealMs(given)).toBeLessThan(hosts <= 8 ? 1.4 : 2.5);
    },
  );

  test('of hosts that come one after the other gives each what it wants', () => {
    const { finishedMs, originBytes } = simulate(scene(20, { arrivesAtMs: (host) => host * 1000 }));
    expect(finishedMs.every((ms) => ms !== undefined)).toBe(true);
    expect(originBytes).toBe(64 * MEBIBYTE);
  });

  test.each([
    [2, 4],
    [2, 20],
    [4, 10],
  ])('in %d racks of %d hosts crosses between racks about once for each', (racks, hosts) => {
    const labels = (host: number) => ({ rack: `rack-${host % racks}` });
    const { finishedMs, bytesByDistance } = simulate(scene(racks * hosts, { labels }));
    expect(finishedMs.every((ms) => ms !== undefined)).toBe(true);
    expect((bytesByDistance[LOCALITY_LABELS.length] ?? 0) / (64 * MEBIBYTE) / (racks - 1)).toBeLessThan(
      hosts > 16 ? 2 : 1.3,
    );
  });

  test('survives whoever dies, the reader of the registry as well', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 20 }),
        fc.array(fc.integer({ min: 0, max: 8000 }), { maxLength: 6 }),
        (hosts, deaths) => {
          const diesAtMs = (host: number) => (host < hosts - 1 ? deaths[host] : undefined);
          const { finishedMs } = simulate(scene(hosts, { diesAtMs }));
          for (const [host, ms] of finishedMs.entries()) {
            if (diesAtMs(host) === undefined) expect(ms).toBeDefined();
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});
