import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Topology } from '../../../console/src/documents.ts';
import { arcAt, ringOf } from '../../../console/src/model/ring.ts';
import { arrange } from '../../../console/src/model/topology.ts';

const host = (number: number, zone: string, rack: string, roles: string[] = []) => ({
  peer: `p${number}`,
  name: `n${number}`,
  labels: { zone, rack },
  roles,
  sentBytesPerSecond: 10,
  receivedBytesPerSecond: 5,
});

function cluster(hosts: number): Topology {
  return {
    hosts: Array.from({ length: hosts }, (_, number) =>
      host(number, `z${number % 3}`, `r${number % 30}`, number % 10 === 0 ? ['seed'] : []),
    ),
    feeds: Array.from({ length: hosts }, (_, number) => ({
      from: `p${number}`,
      to: `p${(number + 1) % hosts}`,
      bytesPerSecond: number + 1,
    })),
  };
}

describe('a topology', () => {
  test('shows hosts so long as they can be told apart, then their racks', () => {
    expect(arrange(cluster(300)).level).toBe('host');
    expect(arrange(cluster(1_000))).toMatchObject({ level: 'rack', hosts: 1_000 });
    expect(arrange(cluster(1_000)).nodes).toHaveLength(30);
    expect(arrange(cluster(1_000), { level: 'zone' }).nodes.map(({ label }) => label)).toEqual([
      'z0',
      'z1',
      'z2',
    ]);
    expect(arrange(cluster(800), { zone: 'z1' })).toMatchObject({
      level: 'host',
      hosts: 267,
      zones: ['z0', 'z1', 'z2'],
    });
  });

  test('shows zones where nothing is said of racks', () => {
    const hosts = Array.from({ length: 500 }, (_, number) => ({
      ...host(number, 'a', ''),
      labels: { zone: 'a' },
    }));
    expect(arrange({ hosts, feeds: [] })).toMatchObject({
      level: 'zone',
      nodes: [{ label: 'a', hosts: 500 }],
    });
  });

  test('loses no byte when it is grouped', () => {
    const topology = cluster(400);
    const all = topology.feeds.reduce((sum, feed) => sum + feed.bytesPerSecond, 0);
    for (const level of ['host', 'rack', 'zone'] as const) {
      const { nodes, edges, near } = arrange(topology, { level });
      const within = nodes.reduce((sum, node) => sum + node.withinBytesPerSecond, 0);
      const between = edges.reduce((sum, edge) => sum + edge.bytesPerSecond, 0);
      expect(within + between).toBe(all);
      expect(near.rack + near.zone + near.far).toBe(all);
      expect(edges).toEqual(edges.toSorted((one, other) => other.bytesPerSecond - one.bytesPerSecond));
    }
  });

  test('passes over feeds of hosts that are gone', () => {
    const { edges, near } = arrange({
      hosts: [host(1, 'a', 'b')],
      feeds: [{ from: 'p1', to: 'p2', bytesPerSecond: 9 }],
    });
    expect({ edges, near }).toEqual({ edges: [], near: { rack: 0, zone: 0, far: 0 } });
  });
});

test('marks on the circle are in order, apart, and found where they are', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400 }), fc.constantFrom('host', 'rack', 'zone'), (hosts, level) => {
      const { nodes } = arrange(cluster(hosts), { level });
      const ring = ringOf(nodes);
      let before = 0;
      for (const [index, { start, end }] of ring.nodes.entries()) {
        expect(start).toBeGreaterThanOrEqual(before);
        expect(end).toBeGreaterThan(start);
        expect(arcAt(ring.nodes, (start + end) / 2)).toBe(index);
        before = end;
      }
      expect(before).toBeLessThan(2 * Math.PI + 1e-9);
    }),
  );
});
