import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startChild } from '@drakkar/lab';
import { fixedPieceLength } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { type FleetHost, startFleet } from '../../src/fleet/fleet.ts';
import type { NeighbourOrders, NeighbourReport } from '../kit/neighbour.ts';
import { isUp, MEBIBYTE, push, until } from '../kit/pushed.ts';
import { requireRight } from './right.ts';

/** Namespaces need root; with CI=true a skip would be a failure, so there it is tried. */
const withoutRoot = process.getuid?.() !== 0 && process.env.CI !== 'true';
const PROGRAM = join(import.meta.dirname, '../kit/neighbour.ts');

describe.skipIf(withoutRoot)(
  'hosts of one local network whose supernode is gone before they know each other',
  () => {
    test('find each other, wherever they have moved to, and nobody who is no member', async () => {
      await using fleet = await startFleet({
        hosts: 3,
        namespaces: true,
        daemon: () => ({ swarm: { mdns: true } }),
      });
      const [first, second, third] = fleet.hosts as [FleetHost, FleetHost, FleetHost];
      const pushed = await push(fleet, 4 * MEBIBYTE);
      await fleet.supernode.kill('SIGKILL');
      for (const host of fleet.hosts) await until(async () => !(await isUp(host)));
      await first.client.pull({ image: pushed.image });

      // A stranger says that it has what they want, and shows a membership that it has seen.
      const place = await fleet.network?.add();
      const { membership } = JSON.parse(await readFile(join(third.stateDirectory, 'swarm.json'), 'utf8'));
      const sizeBytes = pushed.content.length;
      const orders: NeighbourOrders = {
        address: place?.address ?? '',
        blob: pushed.blob,
        sizeBytes,
        pieces: Math.ceil(sizeBytes / fixedPieceLength(sizeBytes)),
        membership,
      };
      const [command, args] = place?.within(process.execPath, [PROGRAM, JSON.stringify(orders)]) ?? ['', []];
      await using stranger = startChild(command, args);
      const reports = () =>
        stranger
          .output()
          .split('\n')
          .filter((line) => line.startsWith('{'))
          .map((line) => JSON.parse(line) as NeighbourReport);
      const peers = await Promise.all(
        fleet.hosts.map(async ({ client }) => (await client.status()).swarm?.peer),
      );
      await until(() =>
        peers.every((peer) => reports().some((report) => report.event === 'found' && report.peer === peer)),
      );

      const { receipt } = await second.client.pull({ image: pushed.image });
      expect(receipt).toMatchObject({ upstreamBytes: 0, peerBytes: sizeBytes });
      await requireRight(second.stateDirectory, [pushed.blob.digest]);
      // It was heard, and asked; it was told nothing and given nothing.
      await until(() => reports().some(({ event }) => event === 'asked'));
      expect(reports().filter(({ event }) => event === 'told' || event === 'called')).toEqual([]);

      // A host that comes back is found again, wherever it listens now.
      await first.kill('SIGKILL');
      await first.start();
      await until(async () => {
        const more = await push(fleet, MEBIBYTE);
        await first.client.pull({ image: more.image });
        return (await third.client.pull({ image: more.image })).receipt.upstreamBytes === 0;
      });
    });
  },
);
