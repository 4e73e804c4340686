import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PullResult } from '@drakkar/client';
import { encodeBlobName, fixedPieceLength } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fleet, type FleetHost, startFleet } from '../../src/fleet/fleet.ts';
import type { Place } from '../../src/fleet/network.ts';
import { joinFleet } from '../kit/member.ts';
import {
  fetchedBytes,
  inTheMiddleOf,
  isSpread,
  isUp,
  MEBIBYTE,
  type Pushed,
  push,
  until,
} from '../kit/pushed.ts';
import { requireRight } from './right.ts';

/** Namespaces need root; with CI=true a skip would be a failure, so there it is tried. */
const withoutRoot = process.getuid?.() !== 0 && process.env.CI !== 'true';

const SKEW_MS = 10 * 60_000;
const DISK_BYTES = 192 * MEBIBYTE;
const [FULL, FAST, LATE, SLOW] = [4, 5, 6, 7] as const;
const RATES = { uploadRate: 8 * MEBIBYTE, upstreamRate: 8 * MEBIBYTE };
/** Those that fetch from the first pass on what they have more slowly than they get it: a while each has only a part. */
const PASSING_ON = { uploadRate: 3 * MEBIBYTE };
const RATES_OF: Readonly<Record<number, object>> = {
  1: PASSING_ON,
  2: PASSING_ON,
  3: PASSING_ON,
  [SLOW]: { downloadRate: 1.5 * MEBIBYTE },
};
const CLOCK = `--import=${new URL('../kit/skewed-clock.ts', import.meta.url)}`;

let fleet: Fleet;
const hostAt = (index: number): FleetHost => fleet.hosts[index] as FleetHost;
const placeOf = ({ place }: { readonly place: Place | undefined }): Place => {
  if (place === undefined) throw new Error('this fleet has no network');
  return place;
};
const pull = (host: FleetHost, { image }: Pushed): Promise<PullResult> => host.client.pull({ image });

/** A pull under which the daemon may be killed: the next one takes it up. */
async function pullWhateverHappens(host: FleetHost, pushed: Pushed): Promise<void> {
  for (;;) {
    try {
      await pull(host, pushed);
      return;
    } catch {
      await sleep(200);
    }
  }
}

async function requireAllRight(hosts: readonly FleetHost[], { blob }: Pushed): Promise<void> {
  for (const host of hosts) await requireRight(host.stateDirectory, [blob.digest]);
}

const cutOffRegistry = (isCutOff: boolean) => fleet.registryPlace?.plug(!isCutOff);

describe.skipIf(withoutRoot)(
  'eight hosts, of which one is slow, one has a small disk and two have wrong clocks,',
  () => {
    beforeAll(async () => {
      const skews: Readonly<Record<number, number>> = { [FAST]: SKEW_MS, [LATE]: -SKEW_MS };
      fleet = await startFleet({
        hosts: 8,
        namespaces: true,
        // So short that each pull outlives one.
        supernode: { grantMs: 3_000 },
        daemon: (index) => ({ swarm: { ...RATES, ...RATES_OF[index] } }),
        diskBytes: (index) => (index === FULL ? DISK_BYTES : undefined),
        environment: (index) => {
          const skewMs = skews[index];
          return skewMs === undefined ? {} : { NODE_OPTIONS: CLOCK, CLOCK_SKEW_MS: `${skewMs}` };
        },
      });
    }, 120_000);
    afterAll(async () => {
      for (const host of fleet.hosts) {
        const words = host.output();
        if (/unhandled|uncaught/i.test(words)) console.error(words.slice(-2000));
      }
      await fleet[Symbol.asyncDispose]();
    });

    test('survive that one of them is killed every two seconds', async () => {
      const pushed = await push(fleet, 24 * MEBIBYTE);
      const pulls = fleet.hosts.map((host) => pullWhateverHappens(host, pushed));
      const end = { reached: false };
      const killing = (async () => {
        const killed: number[] = [];
        while (!end.reached && killed.length < 12) {
          await sleep(2_000);
          const victim = hostAt(Math.floor(Math.random() * fleet.hosts.length));
          killed.push(victim.index);
          await victim.kill('SIGKILL');
          await victim.start();
        }
        console.info(`killed ${killed.join(', ')}`);
      })();
      await Promise.all(pulls);
      end.reached = true;
      await killing;
      await requireAllRight(fleet.hosts, pushed);
    });

    test('go by the bytes, not by the clock: who is ten minutes ahead or behind gives and gets', async () => {
      const pushed = await push(fleet, 8 * MEBIBYTE);
      const { receipt } = await pull(hostAt(FAST), pushed);
      expect(receipt.upstreamBytes).toBe(pushed.content.length);
      for (const index of [LATE, 0]) {
        expect((await pull(hostAt(index), pushed)).receipt).toMatchObject({ upstreamBytes: 0 });
      }
      const back = await push(fleet, 8 * MEBIBYTE);
      await pull(hostAt(LATE), back);
      for (const index of [0, FAST]) {
        expect((await pull(hostAt(index), back)).receipt).toMatchObject({ upstreamBytes: 0 });
      }
      await requireAllRight([hostAt(0), hostAt(FAST), hostAt(LATE)], back);
    });

    test('are given grants anew as long as they want a blob, by whom holds them to the second, too', async () => {
      const pushed = await push(fleet, 10 * MEBIBYTE);
      await pull(hostAt(FAST), pushed);
      const { receipt } = await pull(hostAt(SLOW), pushed);
      expect(receipt).toMatchObject({ upstreamBytes: 0 });
    });

    test('survive that the one with the only whole copy is killed before it has given all', async () => {
      const pushed = await push(fleet, 24 * MEBIBYTE);
      const [seed, ...others] = fleet.hosts.slice(0, 4) as [FleetHost, ...FleetHost[]];
      await pull(seed, pushed);
      const pulls = await inTheMiddleOf(others[0] as FleetHost, 3 * MEBIBYTE, () =>
        others.map((host) => pull(host, pushed)),
      );
      await seed.kill('SIGKILL');
      await Promise.all(pulls);
      await requireAllRight(others, pushed);
      await seed.start();
    });

    test('survive that it is killed, and the registry cut off, as soon as the others have one copy between them', async () => {
      const pushed = await push(fleet, 24 * MEBIBYTE);
      const [seed, ...others] = fleet.hosts.slice(0, 4) as [FleetHost, ...FleetHost[]];
      await pull(seed, pushed);
      const before = await Promise.all(others.map(fetchedBytes));
      const pulls = others.map((host) => pull(host, pushed));
      await until(() => isSpread(others, pushed));
      await Promise.all([seed.kill('SIGKILL'), cutOffRegistry(true)]);
      const after = await Promise.all(others.map(fetchedBytes));
      const had = after.map((bytes, at) => bytes - (before[at] ?? 0));
      console.info(`had ${had.map((bytes) => Math.round(bytes / MEBIBYTE)).join(', ')} of 24 MiB`);
      const results = await Promise.all(pulls);
      for (const { receipt } of results) expect(receipt.upstreamBytes).toBe(0);
      await requireAllRight(others, pushed);
      await cutOffRegistry(false);
      await seed.start();
      await until(() => isUp(seed));
    });

    test('get what their peers have when one of them cannot reach the supernode', async () => {
      const [first, second] = [hostAt(0), hostAt(1)];
      const parted = placeOf(second);
      const known = await push(fleet, 4 * MEBIBYTE);
      const late = await push(fleet, 4 * MEBIBYTE);
      const midway = await push(fleet, 24 * MEBIBYTE);
      // They get to know each other.
      for (const pushed of [known, late, midway]) await pull(first, pushed);
      await pull(second, known);
      const running = await inTheMiddleOf(second, 3 * MEBIBYTE, () => [pull(second, midway)]);
      await parted.part(placeOf(fleet.supernode), true);
      try {
        for (const { receipt } of await Promise.all(running))
          expect(receipt).toMatchObject({ upstreamBytes: 0 });
        // Before it has noticed, and with the registry gone as soon as it knows what to fetch.
        const beginning = pull(second, late);
        await until(async () =>
          (await second.client.blobs()).some(({ digest }) => digest === late.blob.digest),
        );
        await cutOffRegistry(true);
        try {
          expect((await beginning).receipt).toMatchObject({ peerBytes: late.content.length });
        } finally {
          await cutOffRegistry(false);
        }
        await until(async () => !(await isUp(second)));
        const fresh = await push(fleet, 4 * MEBIBYTE);
        await pull(first, fresh);
        expect((await pull(second, fresh)).receipt).toMatchObject({ upstreamBytes: 0 });
        for (const pushed of [midway, late, fresh]) await requireAllRight([second], pushed);
      } finally {
        await parted.part(placeOf(fleet.supernode), false);
      }
      await until(() => isUp(second));
    });

    test('get what they can when a disk is full, whose host says so and stays well', async () => {
      const host = hostAt(FULL);
      const pushed = await push(fleet, 24 * MEBIBYTE);
      const filler = join(host.stateDirectory, 'filler');
      const { usedBytes } = (await host.client.status()).store;
      await writeFile(filler, Buffer.alloc(DISK_BYTES - usedBytes - 12 * MEBIBYTE));
      const failing = pull(host, pushed);
      const others = [0, 1, 2].map((index) => pull(hostAt(index), pushed));
      await expect(failing).rejects.toMatchObject({ code: 'no_space', hint: expect.any(String) });
      await Promise.all(others);
      await requireAllRight([hostAt(0), hostAt(1), hostAt(2)], pushed);
      expect((await host.client.status()).pid).toBe(host.pid);
      await rm(filler);
      expect((await pull(host, pushed)).receipt.upstreamBytes).toBe(0);
      await requireAllRight([host], pushed);
    });

    test('go on without the supernode, and find it again when it returns after half a minute', async () => {
      const pushed = await push(fleet, 48 * MEBIBYTE);
      const pulls = await inTheMiddleOf(hostAt(0), 4 * MEBIBYTE, () =>
        fleet.hosts.map((host) => pull(host, pushed)),
      );
      await fleet.supernode.kill('SIGKILL');
      const back = sleep(30_000).then(() => fleet.supernode.start());
      const fresh = await push(fleet, 4 * MEBIBYTE);
      await pull(hostAt(2), fresh);
      expect((await pull(hostAt(3), fresh)).receipt).toMatchObject({ upstreamBytes: 0 });
      await Promise.all([...pulls, back]);
      await requireAllRight(fleet.hosts, pushed);
      await Promise.all(fleet.hosts.map((host) => until(() => isUp(host))));
      const last = await push(fleet, 4 * MEBIBYTE);
      const receipts = await Promise.all(fleet.hosts.map((host) => pull(host, last)));
      expect(receipts.reduce((sum, { receipt }) => sum + receipt.upstreamBytes, 0)).toBe(last.content.length);
    });

    test('are named to nobody when they are dead, or silent', async () => {
      const pushed = await push(fleet, MEBIBYTE);
      await Promise.all(fleet.hosts.map((host) => pull(host, pushed)));
      await using child = await joinFleet(fleet);
      const sizeBytes = pushed.content.length;
      const pieces = Math.ceil(sizeBytes / fixedPieceLength(sizeBytes));
      const blob = encodeBlobName(pushed.blob);
      child.supernode.send({
        message: { case: 'want', value: { blob, sizeBytes: BigInt(sizeBytes), pieces, havePieces: 0 } },
      });
      const named = () => child.candidates.get(pushed.blob.digest) ?? [];
      await until(() => named().length === fleet.hosts.length);
      const [killed, stopped, unplugged] = [hostAt(0), hostAt(1), hostAt(2)];
      const peers = await Promise.all(
        [killed, stopped, unplugged].map(async ({ client }) => (await client.status()).swarm?.peer ?? ''),
      );
      process.kill(stopped.pid, 'SIGSTOP');
      try {
        const startedMs = performance.now();
        await Promise.all([killed.kill('SIGKILL'), placeOf(unplugged).plug(false)]);
        const absentMs = await Promise.all(
          peers.map(async (peer) => {
            await until(() => !named().includes(peer));
            return performance.now() - startedMs;
          }),
        );
        const [a, b, c] = absentMs.map((ms) => (ms / 1000).toFixed(1));
        console.info(`named no longer after ${a} s (killed), ${b} s (stopped), ${c} s (unplugged)`);
        expect(named()).toHaveLength(fleet.hosts.length - 3);
      } finally {
        process.kill(stopped.pid, 'SIGCONT');
        await placeOf(unplugged).plug(true);
        await killed.start();
      }
      await until(() => named().length === fleet.hosts.length);
    });
  },
);
