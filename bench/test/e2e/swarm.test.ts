import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PullResult } from '@drakkar/client';
import { imageOf, layerOf, pushImage } from '@drakkar/lab';
import type { Digest } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { type Fleet, type FleetHost, type FleetOptions, startFleet } from '../../src/fleet/fleet.ts';
import { inTheMiddleOf } from '../kit/pushed.ts';
import { requireRight } from './right.ts';

const MEBIBYTE = 2 ** 20;
/** Slow enough that something can happen meanwhile. */
const SLOW = { swarm: { upstreamRate: 8 * MEBIBYTE, uploadRate: 8 * MEBIBYTE } };

interface Pushed {
  readonly image: string;
  readonly layers: readonly Digest[];
  readonly sizeBytes: number;
}

let images = 0;

async function push(fleet: Fleet, ...mebibytes: readonly number[]): Promise<Pushed> {
  images += 1;
  const repository = `swarm/image-${images}`;
  const layers = mebibytes.map((size) => layerOf(randomBytes(size * MEBIBYTE), { compression: 'none' }));
  await pushImage(fleet.registry.url, imageOf({ layers }), { repository, tag: 'latest' });
  return {
    image: `${fleet.registry.host}/${repository}:latest`,
    layers: layers.map(({ digest }) => digest),
    sizeBytes: layers.reduce((sum, layer) => sum + layer.sizeBytes, 0),
  };
}

const pull = (host: FleetHost, { image }: Pushed): Promise<PullResult> => host.client.pull({ image });

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const endMs = Date.now() + 30_000; !(await holds()); await sleep(50)) {
    if (Date.now() > endMs) throw new Error('this did not come to be within 30 s');
  }
}

const withFleet =
  (options: FleetOptions, run: (fleet: Fleet) => Promise<void>): (() => Promise<void>) =>
  async () => {
    await using fleet = await startFleet(options);
    try {
      await run(fleet);
    } catch (error) {
      for (const member of [fleet.supernode, ...fleet.hosts]) console.error(member.output().slice(-2000));
      throw error;
    }
  };

// Each has a fleet of its own, and waits most of the time for slow links.
describe.concurrent('a swarm', () => {
  test(
    'leaves a host its own store: what others are getting there makes room for what it needs itself',
    withFleet(
      {
        hosts: 2,
        daemon: (index) =>
          index === 0 ? { store: { quotaBytes: 40 * MEBIBYTE } } : { swarm: { downloadRate: 4 * MEBIBYTE } },
      },
      async (fleet) => {
        const [small, slow] = fleet.hosts as [FleetHost, FleetHost];
        const [first, second, third] = [await push(fleet, 16), await push(fleet, 16), await push(fleet, 16)];
        for (const pushed of [first, second]) await pull(small, pushed);
        const taking = await inTheMiddleOf(slow, 2 * MEBIBYTE, () => [pull(slow, first), pull(slow, second)]);
        await pull(small, third);
        await requireRight(small.stateDirectory, third.layers);
        expect((await small.client.status()).store.usedBytes).toBeLessThanOrEqual(40 * MEBIBYTE);
        await Promise.all(taking);
        for (const { layers } of [first, second]) await requireRight(slow.stateDirectory, layers);
      },
    ),
  );

  test(
    'costs the registry one pull, however many pull at once, and gives everybody the right bytes',
    withFleet({ hosts: 4 }, async (fleet) => {
      const pushed = await push(fleet, 24, 3, 1);
      const results = await Promise.all(fleet.hosts.map((host) => pull(host, pushed)));
      const upstream = results.reduce((sum, { receipt }) => sum + receipt.upstreamBytes, 0);
      expect(upstream).toBe(pushed.sizeBytes);
      for (const { receipt } of results) {
        expect(receipt.upstreamBytes + receipt.peerBytes).toBe(pushed.sizeBytes);
        expect(receipt.peers.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(receipt.peerBytes);
        for (const { name } of receipt.peers) expect(name).toMatch(/^host-[0-3]$/);
        expect(receipt.firstByteMs).not.toBeNull();
      }
      for (const host of fleet.hosts) await requireRight(host.stateDirectory, pushed.layers);
      expect((await fleet.supernode.client.hosts()).map(({ state }) => state)).toEqual(
        Array.from({ length: 4 }, () => 'connected'),
      );
    }),
  );

  test(
    'gives a host that comes later everything from those that came before, the registry away or not',
    withFleet({ hosts: 3 }, async (fleet) => {
      const pushed = await push(fleet, 8);
      const [first, second, third] = fleet.hosts as [FleetHost, FleetHost, FleetHost];
      expect((await pull(first, pushed)).receipt.upstreamBytes).toBe(pushed.sizeBytes);
      expect((await pull(second, pushed)).receipt).toMatchObject({
        upstreamBytes: 0,
        peerBytes: pushed.sizeBytes,
      });
      // Only the third host is left with a way to the bytes that goes through the swarm.
      const running = third.client.pull({ image: pushed.image });
      const { receipt } = await running;
      await fleet.registry.stop();
      expect(receipt.upstreamBytes).toBe(0);
      await requireRight(third.stateDirectory, pushed.layers);
    }),
  );

  test(
    'goes on when the registry is cut off as soon as one copy is spread over it',
    withFleet({ hosts: 4, daemon: () => SLOW }, async (fleet) => {
      const pushed = await push(fleet, 24);
      const pulls = fleet.hosts.map((host) => pull(host, pushed));
      const first = await Promise.race(pulls);
      expect(first.receipt.upstreamBytes).toBe(pushed.sizeBytes);
      await fleet.registry.stop();
      await Promise.all(pulls);
      for (const host of fleet.hosts) await requireRight(host.stateDirectory, pushed.layers);
    }),
  );

  test(
    'survives whoever is killed, time and again, whoever reads the registry included',
    withFleet({ hosts: 5, daemon: () => SLOW }, async (fleet) => {
      const pushed = await push(fleet, 48);
      const survivor = fleet.hosts[0] as FleetHost;
      const pulled = pull(survivor, pushed);
      const others = fleet.hosts.slice(1).map(async (host) => {
        for (;;) {
          try {
            return await pull(host, pushed);
          } catch {
            // Killed under the pull: the next daemon takes it up.
            await sleep(200);
          }
        }
      });
      const end = { reached: false };
      const killing = (async () => {
        for (let kill = 0; !end.reached && kill < 5; kill += 1) {
          await sleep(1_500);
          const victim = fleet.hosts[1 + (kill % (fleet.hosts.length - 1))] as FleetHost;
          await victim.kill('SIGKILL');
          await victim.start();
        }
      })();
      await pulled;
      await Promise.all(others);
      end.reached = true;
      await killing;
      for (const host of fleet.hosts) await requireRight(host.stateDirectory, pushed.layers);
    }),
  );

  test(
    'survives the end and the return of its supernode',
    withFleet({ hosts: 3, daemon: () => SLOW }, async (fleet) => {
      const pushed = await push(fleet, 32);
      const pulls = await inTheMiddleOf(fleet.hosts[0] as FleetHost, 4 * MEBIBYTE, () =>
        fleet.hosts.map((host) => pull(host, pushed)),
      );
      await fleet.supernode.kill('SIGKILL');
      await sleep(1_000);
      await fleet.supernode.start();
      await Promise.all(pulls);
      for (const host of fleet.hosts) await requireRight(host.stateDirectory, pushed.layers);
      await until(async () =>
        (await fleet.supernode.client.hosts()).every(({ state }) => state === 'connected'),
      );
    }),
  );

  test(
    'costs the registry one pull, though its supernode goes for good on the way',
    withFleet({ hosts: 3, daemon: () => SLOW }, async (fleet) => {
      const pushed = await push(fleet, 32);
      const pulls = await inTheMiddleOf(fleet.hosts[0] as FleetHost, 4 * MEBIBYTE, () =>
        fleet.hosts.map((host) => pull(host, pushed)),
      );
      await fleet.supernode.kill('SIGKILL');
      const results = await Promise.all(pulls);
      const upstream = results.reduce((sum, { receipt }) => sum + receipt.upstreamBytes, 0);
      // What two had begun to read at the end may come twice.
      expect(upstream).toBeLessThan(1.2 * pushed.sizeBytes);
      for (const host of fleet.hosts) await requireRight(host.stateDirectory, pushed.layers);
    }),
  );

  test(
    'lets nobody wait for a supernode that is away, and asks whom it knows',
    withFleet({ hosts: 3 }, async (fleet) => {
      const [first, second, third] = fleet.hosts as [FleetHost, FleetHost, FleetHost];
      const [known, fresh] = [await push(fleet, 8), await push(fleet, 4)];
      // They get to know each other.
      await Promise.all([pull(first, known), pull(second, known)]);
      await fleet.supernode.kill('SIGKILL');
      await pull(first, fresh);
      const { receipt } = await pull(second, fresh);
      expect(receipt).toMatchObject({ upstreamBytes: 0, peerBytes: fresh.sizeBytes });
      // The third knows nobody.
      expect((await pull(third, fresh)).receipt.upstreamBytes).toBe(fresh.sizeBytes);
      for (const host of fleet.hosts) await requireRight(host.stateDirectory, fresh.layers);
    }),
  );

  test(
    'serves a private image to no host whose caller the registry does not trust',
    withFleet(
      {
        hosts: 2,
        registry: { users: { alice: 'right' } },
      },
      async (fleet) => {
        const [first, second] = fleet.hosts as [FleetHost, FleetHost];
        images += 1;
        const content = randomBytes(2 * MEBIBYTE);
        const layer = layerOf(content, { compression: 'none' });
        const repository = `private/image-${images}`;
        const authorization = `Basic ${Buffer.from('alice:right').toString('base64')}`;
        await pushImage(fleet.registry.url, imageOf({ layers: [layer] }), {
          repository,
          tag: 'latest',
          headers: { authorization },
        });
        const ask = async (host: FleetHost, headers: Record<string, string>) => {
          const { mirrorUrl } = await host.client.status();
          const url = `${mirrorUrl}/v2/${repository}/blobs/${layer.digest}?ns=${fleet.registry.host}`;
          const response = await fetch(url, { headers });
          return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
        };
        const served = await ask(first, { authorization });
        expect(served.status).toBe(200);
        expect(served.bytes.equals(content)).toBe(true);
        // The first host has it and would give it; the second asks the registry on behalf of its caller first.
        expect((await ask(second, {})).status).toBe(401);
        const wrong = `Basic ${Buffer.from('alice:wrong').toString('base64')}`;
        expect((await ask(second, { authorization: wrong })).status).toBe(401);
        expect((await second.client.blobs()).length).toBe(0);
        const allowed = await ask(second, { authorization });
        expect(allowed.bytes.equals(content)).toBe(true);
        expect((await second.client.status()).swarm?.receivedBytes).toBe(content.length);
      },
    ),
  );

  test(
    'puts out a host that was revoked, and lets in only who has the token in use',
    withFleet({ hosts: 2 }, async (fleet) => {
      const [first, second] = fleet.hosts as [FleetHost, FleetHost];
      const pushed = await push(fleet, 4);
      await pull(first, pushed);
      const { peer = '' } = (await second.client.status()).swarm ?? {};
      await fleet.supernode.client.revoke(peer);
      await until(async () => (await second.client.status()).swarm?.supernode.up === false);
      // It gets what it asks for from the registry, and nothing from the swarm.
      const { receipt } = await pull(second, pushed);
      expect(receipt).toMatchObject({ peerBytes: 0, upstreamBytes: pushed.sizeBytes });
      const { joinToken: token } = await fleet.supernode.client.rotateJoinToken();
      expect(token).not.toBe(fleet.join.joinToken);
      // Members stay members, whatever the token.
      await first.kill('SIGTERM');
      await first.start();
      await until(async () => (await first.client.status()).swarm?.supernode.up === true);
      // The cluster's key changes under their feet, so often that the token is older than any key in use.
      for (let rotation = 0; rotation < 2; rotation += 1) await fleet.supernode.client.rotateKey();
      const { clusterKey } = await fleet.supernode.client.rotateKey();
      expect(token).not.toContain(clusterKey);
      await until(async () => (await first.client.status()).swarm?.supernode.up === true);
      await first.kill('SIGTERM');
      await first.start();
      await until(async () => (await first.client.status()).swarm?.supernode.up === true);
    }),
  );
});
