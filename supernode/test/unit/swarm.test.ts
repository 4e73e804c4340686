import { blobKeyOf, digestOf, type PeerId, peerIdFromRaw } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Choice, SWARM_DEFAULTS, Swarm } from '../../src/index.ts';

const peer = (number: number): PeerId => {
  const raw = Buffer.alloc(32);
  raw.writeUInt32BE(number);
  return peerIdFromRaw(raw);
};
const host = (number: number, more: { labels?: Record<string, string>; uploadSlots?: number } = {}) => ({
  peer: peer(number),
  name: `host-${number}`,
  dataAddress: `10.0.0.${number}:4002`,
  controlAddresses: [],
  labels: {},
  uploadSlots: 8,
  roles: [],
  doesTasks: false,
  ...more,
});
const named = (content: string) => ({ digest: digestOf(content), origin: 'docker.io' });
const blob = { name: named('blob'), sizeBytes: 1000, pieces: 10 };
const key = blobKeyOf(blob.name);
const EMPTY = { ...blob, origins: new Map(), hungry: new Set<PeerId>(), children: new Map() };
const LOCALITY = SWARM_DEFAULTS.localityLabels;

function swarmOf(hosts: number, options = {}): Swarm {
  const swarm = new Swarm(options);
  for (let number = 1; number <= hosts; number += 1) swarm.join(host(number), 0);
  return swarm;
}

const parentsOf = (swarm: Swarm, child: number, nowMs: number) =>
  swarm
    .advise(nowMs)
    .filter(({ to }) => to === peer(child))
    .at(-1)
    ?.parents.map((parent) => parent.peer);

describe('a swarm', () => {
  test('lets one host read upstream, and nobody once a seed is there', () => {
    const swarm = swarmOf(4);
    for (const child of [1, 2, 3]) swarm.want(peer(child), blob, 0, child);
    const advice = swarm.advise(10);
    expect(advice.filter(({ origin }) => origin).map(({ to }) => to)).toEqual([peer(1)]);
    expect(
      advice
        .find(({ to }) => to === peer(2))
        ?.parents.map((parent) => parent.peer)
        .sort(),
    ).toEqual([peer(1), peer(3)].sort());
    swarm.have(peer(1), blob, blob.pieces, 20);
    swarm.want(peer(4), blob, 0, 30);
    const later = swarm.advise(30);
    expect(later.some(({ origin }) => origin)).toBe(false);
    expect(later.find(({ to }) => to === peer(4))?.seeds).toEqual(new Set([peer(1)]));
  });

  test('leaves it to a host that reads upstream already, and to no more than may', () => {
    const swarm = swarmOf(3);
    swarm.want(peer(1), blob, 0, 0);
    // Another supernode has let them.
    swarm.want(peer(2), blob, 4, 1, 'upstream');
    swarm.want(peer(3), blob, 2, 2, 'upstream');
    const advice = swarm.advise(10);
    expect(advice.filter(({ origin }) => origin).map(({ to }) => to)).toEqual([peer(2)]);
    expect(advice.find(({ to }) => to === peer(1))?.parents.map(({ peer: of }) => of)).toContain(peer(2));
  });

  test('finds a digest under all names and in all shapes, and nothing of it when its hosts have gone', () => {
    const swarm = swarmOf(3);
    const elsewhere = { ...blob, name: { ...blob.name, origin: 'quay.io' } };
    const larger = { ...blob, sizeBytes: 2000 };
    swarm.have(peer(1), blob, 1, 0);
    swarm.have(peer(2), larger, 1, 0);
    swarm.want(peer(3), elsewhere, 0, 0);
    swarm.have(peer(3), { ...blob, name: named('other') }, 1, 0);
    const found = () =>
      [...swarm.swarmsOf(blob.name.digest)]
        .map(({ name, sizeBytes }) => `${name.origin} ${sizeBytes}`)
        .sort();
    expect(found()).toEqual(['docker.io 1000', 'docker.io 2000', 'quay.io 1000']);
    expect(swarm.find(larger)?.parts.has(peer(2))).toBe(true);
    // It says something else now.
    swarm.have(peer(2), blob, 1, 1);
    expect(found()).toEqual(['docker.io 1000', 'quay.io 1000']);
    for (const gone of [1, 2, 3]) swarm.leave(peer(gone));
    expect(found()).toEqual([]);
    expect(swarm.find(blob)).toBeUndefined();
  });

  test('says who has all of a blob, the idlest first, but for who is in quarantine', () => {
    const swarm = swarmOf(5);
    for (const seed of [1, 2, 3, 4]) swarm.have(peer(seed), blob, blob.pieces, 1);
    swarm.have(peer(5), blob, blob.pieces - 1, 1);
    swarm.heartbeat(peer(1), 4, 2);
    swarm.heartbeat(peer(3), 2, 2);
    swarm.quarantine(peer(4), 100);
    const seeds = (nowMs: number, most: number) => swarm.seedsOf(blob, nowMs, most).map((each) => each.peer);
    expect(seeds(3, 8)).toEqual([peer(2), peer(3), peer(1)]);
    expect(seeds(3, 1)).toEqual([peer(2)]);
    expect(seeds(101, 8)).toContain(peer(4));
    expect(swarm.seedsOf({ ...blob, pieces: 11 }, 3, 8)).toEqual([]);
    expect([swarm.hasSeed(blob), swarm.hasSeed({ ...blob, sizeBytes: 999 })]).toEqual([true, false]);
  });

  test('keeps two cuts of one blob apart, and who lies about the number of pieces from the rest', () => {
    const swarm = swarmOf(4);
    const cut = { ...blob, name: { ...blob.name, table: digestOf('table') }, pieces: 40 };
    swarm.have(peer(1), blob, blob.pieces, 0);
    swarm.want(peer(2), cut, 0, 0);
    expect(parentsOf(swarm, 2, 10)).toEqual([]);
    swarm.have(peer(3), { ...cut, pieces: 1 }, 1, 20);
    expect(parentsOf(swarm, 2, 20)).toBeUndefined();
    swarm.have(peer(4), cut, 7, 30);
    expect(parentsOf(swarm, 2, 30)).toEqual([peer(4)]);
  });

  test('gives the lease to another when its holder makes no progress, leaves or falls silent', () => {
    const swarm = swarmOf(3);
    for (const child of [1, 2, 3]) swarm.want(peer(child), blob, 0, child);
    swarm.advise(0);
    swarm.originProgress(peer(1), key, 500, 9_000);
    for (const child of [1, 2, 3]) swarm.heartbeat(peer(child), 0, 18_000);
    swarm.expire(18_999);
    expect(swarm.advise(18_999)).toEqual([]);
    swarm.expire(19_000);
    const readers = () => [...([...swarm.blobs][0]?.origins.keys() ?? [])];
    swarm.advise(19_000);
    expect(readers()).toEqual([peer(2)]);
    swarm.forget(peer(2), key, { want: true, have: true });
    swarm.advise(20_000);
    expect(readers()).toEqual([peer(3)]);
    swarm.heartbeat(peer(1), 0, 30_000);
    expect(swarm.expire(30_000)).toEqual([peer(2), peer(3)]);
    swarm.advise(30_000);
    expect(readers()).toEqual([peer(1)]);
  });

  test('gives the lease to another when the registry gives its holder nothing', () => {
    const swarm = swarmOf(2);
    for (const child of [1, 2]) swarm.want(peer(child), blob, 0, child);
    swarm.advise(0);
    swarm.originRelease(peer(1), key, 10);
    swarm.advise(10);
    expect([...([...swarm.blobs][0]?.origins.keys() ?? [])]).toEqual([peer(2)]);
  });

  test('spreads the leases of many blobs over those who want them, and gives all to who is alone', () => {
    const layers = Array.from({ length: 6 }, (_, index) => ({ ...blob, name: named(`layer ${index}`) }));
    const readers = (advice: ReturnType<Swarm['advise']>) =>
      advice.flatMap(({ to, origin }) => (origin ? [to] : []));
    const both = swarmOf(2);
    for (const layer of layers) both.want(peer(1), layer, 0, 0);
    expect(readers(both.advise(0))).toEqual([peer(1), peer(1)]);
    expect(both.isWaiting).toBe(true);
    for (const layer of layers) both.want(peer(2), layer, 0, 50);
    expect(readers(both.advise(50))).toEqual(expect.arrayContaining([peer(2), peer(2)]));
    const all = [...both.blobs].flatMap(({ origins }) => [...origins.keys()]);
    expect(all.filter((reader) => reader === peer(2))).toHaveLength(2);
    const alone = swarmOf(2);
    for (const layer of layers) alone.want(peer(1), layer, 0, 0);
    const { leaseSpreadMs } = SWARM_DEFAULTS;
    const counts = [0, 1, 2, 3, 4].map((step) => {
      alone.advise(step * leaseSpreadMs);
      return [...alone.blobs].filter(({ origins }) => origins.has(peer(1))).length;
    });
    expect(counts).toEqual([2, 3, 4, 5, 6]);
    expect(alone.isWaiting).toBe(false);
  });

  test('lets a child read upstream to whom the only seed gives nothing', () => {
    const swarm = swarmOf(3);
    swarm.have(peer(3), blob, blob.pieces, 0);
    for (const child of [1, 2]) swarm.want(peer(child), blob, 0, child);
    expect(swarm.advise(0).some(({ origin }) => origin)).toBe(false);
    swarm.useless(peer(1), peer(3), key, 10);
    const [advice] = swarm.advise(10).filter(({ to }) => to === peer(1));
    expect(advice?.origin).toBe(true);
    expect(advice?.parents.map((parent) => parent.peer)).not.toContain(peer(3));
  });

  test('lets a child read upstream that gains nothing from others either while the seed is busy', () => {
    const swarm = swarmOf(4);
    swarm.have(peer(3), blob, blob.pieces, 0);
    swarm.want(peer(1), blob, 0, 0);
    swarm.want(peer(2), blob, 4, 0);
    swarm.advise(0);
    swarm.useless(peer(1), peer(3), key, 1_000);
    const mayRead = (nowMs: number) => {
      swarm.expire(nowMs);
      return swarm.advise(nowMs).some(({ to, origin }) => to === peer(1) && origin);
    };
    expect(mayRead(1_000)).toBe(false);
    swarm.have(peer(1), blob, 2, 4_000);
    expect(mayRead(8_999)).toBe(false);
    expect(mayRead(9_000)).toBe(true);
  });

  test('lets who gains something of another blob wait longer for the busy seed of this one', () => {
    const swarm = swarmOf(3);
    swarm.have(peer(3), blob, blob.pieces, 0);
    swarm.want(peer(2), blob, 4, 0);
    swarm.want(peer(1), blob, 0, 0);
    const other = { ...blob, name: named('other'), pieces: 100 };
    swarm.want(peer(1), other, 0, 0);
    swarm.advise(0);
    const mayRead = (nowMs: number) => {
      for (const number of [1, 2, 3]) swarm.heartbeat(peer(number), 0, nowMs);
      swarm.have(peer(1), other, nowMs / 1_000, nowMs);
      swarm.expire(nowMs);
      return swarm
        .advise(nowMs)
        .some(({ to, blob: { digest }, origin }) => to === peer(1) && digest === blob.name.digest && origin);
    };
    swarm.useless(peer(1), peer(3), key, 500);
    for (const nowMs of [1_000, 4_000, 8_000, 12_000, 14_000]) expect(mayRead(nowMs)).toBe(false);
    expect(mayRead(15_000)).toBe(true);
  });

  test('takes it from a host that has read nothing yet for one that was in the middle of it', () => {
    const swarm = swarmOf(3);
    swarm.want(peer(1), blob, 0, 0);
    const readers = (nowMs: number) => swarm.advise(nowMs).map(({ to, origin }) => [to, origin]);
    expect(readers(10)).toEqual([[peer(1), true]]);
    swarm.want(peer(2), blob, 4, 20, 'upstream');
    expect(readers(30).sort()).toEqual(
      [
        [peer(1), false],
        [peer(2), true],
      ].sort(),
    );
    swarm.originProgress(peer(2), key, 100, 40);
    swarm.want(peer(3), blob, 4, 50, 'upstream');
    expect(readers(60)).toContainEqual([peer(3), false]);
  });

  test('lets who was told by another supernode whom to ask wait for those it had that from', () => {
    const swarm = swarmOf(0);
    for (const number of [1, 2]) swarm.join(host(number), 1_000);
    swarm.want(peer(1), blob, 4, 1_000, 'parents');
    swarm.want(peer(2), { ...blob, name: named('other') }, 0, 1_000);
    const readers = (nowMs: number) => {
      swarm.expire(nowMs);
      return swarm.advise(nowMs).flatMap(({ to, origin }) => (origin ? [to] : []));
    };
    expect(readers(1_000)).toEqual([peer(2)]);
    swarm.have(peer(1), blob, 5, 4_000);
    expect(readers(8_999)).toEqual([]);
    expect(readers(9_000)).toEqual([peer(1)]);
  });

  test('takes a dead host out of every list, and tells its children', () => {
    const swarm = swarmOf(3);
    for (const child of [1, 2, 3]) swarm.want(peer(child), blob, 0, 0);
    swarm.advise(0);
    for (const child of [1, 2]) swarm.heartbeat(peer(child), 0, 11_000);
    expect(swarm.expire(12_000)).toEqual([peer(3)]);
    expect(parentsOf(swarm, 1, 12_000)).toEqual([peer(2)]);
  });

  test('sends nobody to a peer that two hosts have reported, until its quarantine ends', () => {
    const swarm = swarmOf(4);
    for (const child of [1, 2, 3, 4]) swarm.want(peer(child), blob, 0, 0);
    swarm.advise(0);
    expect(swarm.report(peer(1), peer(4), key, 1)).toBe('noted');
    expect(parentsOf(swarm, 1, 1)).not.toContain(peer(4));
    expect(swarm.report(peer(1), peer(4), key, 2)).toBe('repeated');
    expect(swarm.report(peer(4), peer(4), key, 2)).toBe('unfounded');
    expect(swarm.report(peer(2), peer(4), key, 3)).toBe('quarantined');
    expect(parentsOf(swarm, 3, 3)).not.toContain(peer(4));
    expect(swarm.isQuarantined(peer(4), 3)).toBe(true);
    swarm.expire(SWARM_DEFAULTS.quarantineMs + 3);
    expect(swarm.isQuarantined(peer(4), SWARM_DEFAULTS.quarantineMs + 3)).toBe(false);
  });

  test('keeps who claims another size of a blob to itself', () => {
    const swarm = swarmOf(3);
    swarm.have(peer(3), { ...blob, sizeBytes: 7, pieces: 1 }, 1, 0);
    for (const child of [1, 2]) swarm.want(peer(child), blob, 0, 0);
    const [advice] = swarm.advise(0).filter(({ to }) => to === peer(1));
    expect(advice?.parents.map((parent) => parent.peer)).toEqual([peer(2)]);
    swarm.have(peer(3), blob, blob.pieces, 0);
    expect(swarm.blobs.size).toBe(1);
    expect(parentsOf(swarm, 1, 0)).toContain(peer(3));
  });

  test('hears nothing from a host about a peer that it was never sent to', () => {
    const swarm = swarmOf(3);
    for (const child of [1, 2]) swarm.want(peer(child), blob, 0, 0);
    swarm.advise(0);
    for (const reporter of [1, 2]) expect(swarm.report(peer(reporter), peer(3), key, 1)).toBe('unfounded');
    expect(swarm.isQuarantined(peer(3), 1)).toBe(false);
  });

  test('names nobody that has been silent for fifteen seconds, and tells all who were sent there', () => {
    const beats = fc.array(fc.integer({ min: 0, max: 60_000 }), { maxLength: 12 });
    fc.assert(
      fc.property(fc.array(beats, { minLength: 2, maxLength: 6 }), (hosts) => {
        const swarm = swarmOf(hosts.length);
        const numbers = hosts.map((_, index) => index + 1);
        for (const number of numbers) swarm.want(peer(number), blob, number % 2, 0);
        const told = new Map(swarm.advise(0).map(({ to, parents }) => [to, parents]));
        const heardAtMs = new Map(numbers.map((number) => [peer(number), 0]));
        for (let nowMs = 0; nowMs <= 75_000; nowMs += 1_000) {
          for (const [index, at] of hosts.entries()) {
            if (!at.some((atMs) => Math.ceil(atMs / 1_000) * 1_000 === nowMs)) continue;
            if (!swarm.hosts.has(peer(index + 1))) continue;
            swarm.heartbeat(peer(index + 1), 0, nowMs);
            heardAtMs.set(peer(index + 1), nowMs);
          }
          swarm.expire(nowMs);
          for (const { to, parents } of swarm.advise(nowMs)) told.set(to, parents);
          for (const child of swarm.hosts.keys()) {
            for (const parent of told.get(child) ?? []) {
              expect(nowMs - (heardAtMs.get(parent.peer) ?? 0)).toBeLessThan(15_000);
            }
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  test('tells everybody who wants something anew when it is to remind them, and nobody else', () => {
    const swarm = swarmOf(4);
    swarm.have(peer(1), blob, blob.pieces, 0);
    for (const child of [2, 3]) swarm.want(peer(child), blob, 0, 0);
    swarm.advise(0);
    swarm.remind();
    expect(swarm.advise(1).map(({ to }) => to)).toEqual([peer(2), peer(3)]);
    expect(swarm.isStale).toBe(false);
  });

  test('says what it has to say in turns', () => {
    const swarm = swarmOf(5);
    for (const child of [1, 2, 3, 4, 5]) swarm.want(peer(child), blob, 0, 0);
    expect(swarm.advise(0, 2)).toHaveLength(2);
    expect(swarm.isStale).toBe(true);
    expect(swarm.advise(0)).toHaveLength(3);
    expect(swarm.isStale).toBe(false);
  });

  test('refuses hosts that take part in everything', () => {
    const swarm = swarmOf(2, { maxBlobsPerHost: 2 });
    swarm.want(peer(1), blob, 0, 0);
    swarm.want(peer(1), { ...blob, name: named('second') }, 0, 0);
    expect(() => swarm.want(peer(1), { ...blob, name: named('third') }, 0, 0)).toThrow(
      expect.objectContaining({ code: 'limit_exceeded' }),
    );
  });

  test('keeps nothing of what nobody takes part in', () => {
    const swarm = swarmOf(2);
    swarm.want(peer(1), blob, 0, 0);
    swarm.have(peer(2), blob, 10, 0);
    swarm.forget(peer(1), key, { want: true, have: true });
    swarm.leave(peer(2));
    expect(swarm.blobs.size).toBe(0);
    swarm.want(peer(2), blob, 0, 0);
    expect(swarm.blobs.size).toBe(0);
  });
});

describe('a choice of parents', () => {
  test('is of those that are there and have something, near ones first while they have room', () => {
    const anyHosts = fc.array(
      fc.record({
        rack: fc.constantFrom('a', 'b', undefined),
        uploads: fc.nat(8),
        have: fc.nat(10),
        wants: fc.boolean(),
        isThere: fc.boolean(),
        excluded: fc.boolean(),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(anyHosts, fc.integer({ min: 1, max: 20 }), (given, candidates) => {
        const hosts = new Map(
          given.flatMap(({ rack, uploads, isThere }, index) =>
            isThere
              ? [
                  [
                    peer(index),
                    {
                      ...host(index, { labels: rack === undefined ? {} : { rack } }),
                      uploads,
                      heardAtMs: 0,
                      gainedAtMs: 0,
                      leases: 0,
                    },
                  ] as const,
                ]
              : [],
          ),
        );
        const parts = new Map(
          given.map(({ have, wants }, index) => [
            peer(index),
            {
              havePieces: have,
              cells: 0n,
              wants,
              sinceMs: 0,
              isReturning: false,
              gainedAtMs: 0,
              parents: [],
              stale: false,
              originLostAtMs: 0,
              useless: undefined,
              named: new Set<PeerId>(),
            },
          ]),
        );
        const excluded = (parent: PeerId) =>
          given.some((one, index) => one.excluded && peer(index) === parent);
        const around = { localityLabels: LOCALITY, candidates };
        const choose = () => new Choice({ ...EMPTY, parts }, hosts, around).of(peer(0), excluded);
        const chosen = choose();
        const fits = given.flatMap(({ isThere, excluded: out, have, wants }, index) =>
          index > 0 && isThere && !out && (have > 0 || wants) ? [peer(index)] : [],
        );
        expect(new Set(chosen).size).toBe(chosen.length);
        expect(chosen.every((parent) => fits.includes(parent))).toBe(true);
        expect(chosen.length).toBe(Math.min(candidates, fits.length));
        expect(choose()).toEqual(chosen);
      }),
    );
  });

  test('prefers the own rack to another while it has room, and another to one that is full', () => {
    const labels = (rack: string) => ({ labels: { rack } });
    const hosts = new Map(
      [host(0, labels('a')), host(1, labels('a')), host(2, labels('b'))].map((one) => [
        one.peer,
        { ...one, uploads: 0, heardAtMs: 0, gainedAtMs: 0, leases: 0 },
      ]),
    );
    const part = {
      havePieces: 10,
      cells: 0n,
      wants: false,
      sinceMs: 0,
      isReturning: false,
      gainedAtMs: 0,
      parents: [],
      stale: false,
      originLostAtMs: 0,
      useless: undefined,
      named: new Set<PeerId>(),
    };
    const swarm = { ...EMPTY, parts: new Map([1, 2].map((number) => [peer(number), part])) };
    const around = { localityLabels: LOCALITY, candidates: 1 };
    const choose = () => new Choice(swarm, hosts, around).of(peer(0), () => false);
    expect(choose()).toEqual([peer(1)]);
    const near = hosts.get(peer(1));
    if (near !== undefined) near.uploads = 8;
    expect(choose()).toEqual([peer(2)]);
  });

  test('looks at some of a large swarm, and finds the seeds and the near ones', () => {
    const rack = (index: number) => (index % 100 === 0 ? 'mine' : `other-${index % 50}`);
    const hosts = new Map(
      Array.from({ length: 3000 }, (_, index) => {
        const one = {
          ...host(index, { labels: { rack: rack(index) } }),
          uploads: 0,
          heardAtMs: 0,
          gainedAtMs: 0,
          leases: 0,
        };
        return [one.peer, one] as const;
      }),
    );
    const parts = new Map(
      [...hosts.keys()].map((one, index) => {
        const havePieces = index === 1234 ? blob.pieces : 1;
        const rest = {
          cells: 0n,
          wants: true,
          sinceMs: 0,
          isReturning: false,
          gainedAtMs: 0,
          parents: [],
          stale: false,
          originLostAtMs: 0,
          useless: undefined,
        };
        return [one, { ...rest, havePieces, named: new Set<PeerId>() }] as const;
      }),
    );
    const choice = new Choice({ ...EMPTY, parts }, hosts, { localityLabels: LOCALITY, candidates: 16 });
    const chosen = choice.of(peer(100), () => false);
    expect(chosen).toHaveLength(16);
    const near = chosen.filter((parent) => hosts.get(parent)?.labels.rack === 'mine');
    expect(near.length).toBeGreaterThanOrEqual(12);
    const others = Array.from({ length: 50 }, (_, index) => choice.of(peer(index * 7 + 1), () => false));
    expect(new Set(others.flat()).size).toBeGreaterThan(100);
  });
});
