import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fleet, type FleetHost, startFleet } from '../../src/fleet/fleet.ts';
import { inTheMiddleOf, MEBIBYTE, type Pushed, push, until } from '../kit/pushed.ts';
import { requireRight } from './right.ts';

/** How long Redis is away: longer than any lease. A minute is for runs by hand. */
const AWAY_MS = Number(process.env.DRAKKAR_AWAY_SECONDS ?? 8) * 1_000;
const SIZE_BYTES = 4 * MEBIBYTE;

let fleet: Fleet;

beforeAll(async () => {
  // Slow enough that something can happen meanwhile.
  const swarm = { upstreamRate: 8 * MEBIBYTE, uploadRate: 8 * MEBIBYTE };
  fleet = await startFleet({ hosts: 3, supernodes: 2, daemon: () => ({ swarm }) });
  await settled(2);
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** Until every host asks that many supernodes. */
const settled = (count: number): Promise<void> =>
  until(async () => (await asked()).every((each) => each === count));

const asked = (): Promise<number[]> =>
  Promise.all(
    fleet.hosts.map(async ({ client }) => {
      const { swarm } = await client.status();
      return swarm?.supernodes.filter(({ up, serving }) => up && serving).length ?? 0;
    }),
  );

const pullOnAll = ({ image }: Pushed) => fleet.hosts.map(({ client }) => client.pull({ image }));

const upstreamOf = (results: Awaited<ReturnType<FleetHost['client']['pull']>>[]) =>
  results.reduce((sum, { receipt }) => sum + receipt.upstreamBytes, 0);

describe('several supernodes', () => {
  test('restarted one after the other, by SIGTERM and by SIGKILL, fail no pull', async () => {
    let isOver = false;
    let sizes = 0;
    let upstream = 0;
    const pulling = (async () => {
      while (!isOver) {
        const pushed = await push(fleet, SIZE_BYTES);
        const results = await Promise.all(pullOnAll(pushed));
        for (const { stateDirectory } of fleet.hosts)
          await requireRight(stateDirectory, [pushed.blob.digest]);
        sizes += pushed.content.length;
        upstream += upstreamOf(results);
      }
    })();
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      for (const supernode of fleet.supernodes) {
        await supernode.kill(signal);
        await settled(1);
        await supernode.start();
        await settled(2);
      }
    }
    isOver = true;
    await pulling;
    expect(upstream / sizes).toBe(1);
  });

  test('whose Redis is away in the middle of a distribution go on with it, and with those after it', async () => {
    const pushed = await push(fleet, 8 * SIZE_BYTES);
    const [first] = fleet.hosts;
    if (first === undefined) throw new Error('no hosts');
    const pulls = await inTheMiddleOf(first, SIZE_BYTES, () => pullOnAll(pushed));
    await fleet.redis?.kill();
    const back = sleep(AWAY_MS).then(() => fleet.redis?.start());
    expect(upstreamOf(await Promise.all(pulls))).toBe(pushed.content.length);
    const next = await push(fleet, SIZE_BYTES);
    expect(upstreamOf(await Promise.all(pullOnAll(next)))).toBe(next.content.length);
    await back;
    expect(await asked()).toEqual([2, 2, 2]);
    await until(async () => {
      const states = (await fleet.supernode.client.hosts()).map(({ state }) => state);
      return states.length === 3 && states.every((state) => state === 'connected');
    });
  });
});
