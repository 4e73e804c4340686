import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Order, OrderSpec } from '../../../src/controller/contract.ts';
import { type Plan, planOf, type Situation } from '../../../src/controller/plan.ts';
import { summaryOf } from '../../../src/controller/summary.ts';
import type { ImageSnapshotSpec, ImageSnapshotStatus } from '../../../src/index.ts';
import { imageSnapshotSpecSchema } from '../../../src/resources/image-snapshot.ts';

const MADE_MS = Date.parse('2026-03-01T12:00:00Z');
const MINUTE_MS = 60_000;
const digestOf = (text: string) => `sha256:${Buffer.from(text).toString('hex').padEnd(64, '0').slice(0, 64)}`;
const OPEN = { error: null, resolved: null, snapshot: null, bytes: { upstream: 0, peer: 0 } };
const ERROR = { code: 'not_found', message: 'there is no such tag' };

/** An ImageSnapshot with a fleet that does what it is asked, or not, when it is told to. */
class World {
  spec: ImageSnapshotSpec;
  status: ImageSnapshotStatus = {};
  nowMs = MADE_MS;
  isDeleted = false;
  generation = 1;
  secretProblem: Situation['secretProblem'];
  keptByOthers: Situation['keptByOthers'] = () => false;
  nodes = new Map([
    ['one', { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64', pool: 'a' }],
    ['two', { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64', pool: 'b' }],
  ]);
  /** Those that have no daemon. */
  readonly bare = new Set<string>();
  readonly orders = new Map<string, Order & { readonly spec: OrderSpec }>();
  /** All that hosts were ever asked for. */
  readonly asked: OrderSpec[] = [];
  /** What tags mean. */
  readonly means = new Map<string, string>();

  constructor(spec: object) {
    this.spec = imageSnapshotSpecSchema.parse({ platforms: ['linux/amd64'], ...spec });
  }

  /** Once. @param isTold whether what there is to say of it is kept */
  look(isTold = true): Plan {
    const { spec, status, nowMs, isDeleted, orders, nodes, secretProblem } = this;
    const keptByOthers: Situation['keptByOthers'] = (item) => this.keptByOthers(item);
    const isEdited = status.observedGeneration !== this.generation;
    const situation = {
      spec,
      status,
      nowMs,
      isDeleted,
      isEdited,
      orders,
      nodes,
      secretProblem,
      keptByOthers,
    };
    const plan = planOf({ ...situation, madeAtMs: MADE_MS });
    for (const [name, each] of plan.begin) {
      expect(orders.has(name)).toBe(false);
      this.asked.push(each);
      orders.set(name, { ...OPEN, state: 'running', spec: each });
    }
    for (const name of plan.end) orders.delete(name);
    const parts = (name: string) => {
      const order = orders.get(name);
      const isDone = order?.state === 'keeping';
      return this.#hostsOf(order?.spec).map((host) => ({ host, isDone, error: null }));
    };
    const now = new Date(nowMs).toISOString();
    const said = summaryOf({
      spec,
      before: status,
      generation: this.generation,
      plan,
      nodes,
      partsOf: parts,
      hostNames: () => new Set(this.hosts),
      now,
    });
    if (isTold) this.status = said;
    return plan;
  }

  /** Until there is nothing to be begun any more. */
  settle(): Plan {
    for (let turn = 0; ; turn += 1) {
      expect(turn).toBeLessThan(20);
      const plan = this.look();
      const isDue = plan.nextMs !== undefined && plan.nextMs <= this.nowMs;
      if (plan.begin.size === 0 && plan.end.length === 0 && !isDue) return plan;
    }
  }

  /** Hosts do all that they were asked. */
  end(): void {
    for (const [name, order] of this.orders) {
      if (order.state !== 'running') continue;
      this.orders.set(name, { ...order, ...this.#outcomeOf(order.spec) });
    }
  }

  /** What hosts are at comes to nothing. */
  stop(state: 'failed' | 'cancelled'): void {
    const error = state === 'failed' ? ERROR : null;
    for (const [name, order] of this.orders)
      if (order.state === 'running') this.orders.set(name, { ...order, state, error });
  }

  work(): Plan {
    for (let turn = 0; turn < 5; turn += 1) {
      this.settle();
      this.end();
    }
    return this.settle();
  }

  wait(ms: number): void {
    this.nowMs += ms;
  }

  /** Names of nodes with a daemon. */
  get hosts(): string[] {
    return [...this.nodes.keys()].filter((name) => !this.bare.has(name));
  }

  /** Those that have the labels that are asked for. */
  #hostsOf(order: OrderSpec | undefined): string[] {
    const selector = (order?.kind === 'keep' ? order.distribution.nodeSelector : undefined) ?? {};
    const has = (host: string) => {
      const labels: Readonly<Record<string, string>> = this.nodes.get(host) ?? {};
      return Object.entries(selector).every(([name, value]) => labels[name] === value);
    };
    return this.hosts.filter(has);
  }

  get platforms(): string[] | undefined {
    return this.status.images?.map(({ platform }) => platform);
  }

  condition(type: string) {
    return this.status.conditions?.find((condition) => condition.type === type);
  }

  asks(kind: OrderSpec['kind']): string[] {
    return this.asked.filter((each) => each.kind === kind).map(({ image }) => image);
  }

  #outcomeOf({ kind, image }: OrderSpec): Partial<Order> {
    if (kind !== 'build') return { state: kind === 'keep' ? 'keeping' : 'succeeded' };
    const root = digestOf(this.means.get(image) ?? image);
    return {
      state: 'succeeded',
      resolved: { root, manifest: digestOf(`manifest of ${root}`) },
      snapshot: { layout: digestOf(`layout of ${root}`), sizeBytes: 100 },
    };
  }
}

const pinnedTo = (text: string, name = 'docker.io/library/a') => `${name}@${digestOf(text)}`;

describe('an ImageSnapshot', () => {
  test('is resolved, built, brought to nodes, and ready', () => {
    const world = new World({ images: ['a'] });
    world.settle();
    expect(world.status).toMatchObject({ ready: '0/1', images: [{ phase: 'Resolving' }] });
    expect(world.condition('Ready')).toMatchObject({ status: 'False', reason: 'Resolving' });
    world.end();
    world.settle();
    expect(world.status).toMatchObject({ images: [{ phase: 'Distributing', digest: digestOf('a') }] });
    expect(world.condition('Built')).toMatchObject({ status: 'True' });
    expect(world.condition('Ready')).toMatchObject({ status: 'False', message: '0 of 2 have all of it' });
    world.end();
    world.settle();
    expect(world.condition('Ready')).toMatchObject({ status: 'True' });
    expect(world.status).toMatchObject({ ready: '1/1', nodes: { desired: 2, ready: 2 }, sizeBytes: 100 });
    expect([world.asks('build'), world.asks('keep'), world.asks('evict')]).toEqual([
      ['a'],
      [pinnedTo('a')],
      [],
    ]);
  });

  test('says since when each condition is what it is', () => {
    const world = new World({ images: ['a'] });
    world.settle();
    const since = world.condition('Ready')?.lastTransitionTime;
    world.wait(MINUTE_MS);
    world.settle();
    expect(world.condition('Ready')?.lastTransitionTime).toBe(since);
    world.work();
    expect(world.condition('Ready')?.lastTransitionTime).toBe(new Date(world.nowMs).toISOString());
  });

  test('is tried again, later each time, where it fails, and says why', () => {
    const world = new World({ images: ['a', 'b'] });
    for (let failure = 0; failure < 4; failure += 1) {
      world.settle();
      world.stop('failed');
      const { nextMs = 0 } = world.settle();
      expect(world.condition('Resolved')).toMatchObject({ reason: 'ImageNotFound' });
      expect(world.condition('Resolved')?.message).toContain('there is no such tag, and 1 more');
      expect(world.asks('build')).toHaveLength(2 * (failure + 1));
      expect(nextMs - world.nowMs).toBe(15_000 * 2 ** failure);
      world.nowMs = nextMs;
    }
    world.work();
    expect(world.condition('Ready')).toMatchObject({ status: 'True' });
  });

  test('is tried again at once where it is edited', () => {
    const world = new World({ images: ['a'] });
    world.settle();
    world.stop('failed');
    world.settle();
    expect(world.asks('build')).toHaveLength(1);
    world.generation += 1;
    world.settle();
    expect(world.asks('build')).toHaveLength(2);
    world.stop('failed');
    world.settle();
    expect(world.asks('build')).toHaveLength(2);
  });

  test.each(['failed', 'cancelled'] as const)(
    'is brought to nodes again, later each time, where that has %s, and at once where it is edited',
    (state) => {
      const world = new World({ images: ['a'] });
      world.settle();
      world.end();
      world.settle();
      for (let failure = 0; failure < 3; failure += 1) {
        world.stop(state);
        const { nextMs = 0 } = world.settle();
        const [image] = world.status.images ?? [];
        expect(image).toMatchObject({ phase: 'Failed', keep: { failures: failure + 1 } });
        expect(image?.keep?.nextAttemptTime).toBe(new Date(nextMs).toISOString());
        expect(world.condition('Ready')?.status).toBe('False');
        expect(nextMs - world.nowMs).toBe(15_000 * 2 ** failure);
        world.wait(1_000);
        world.settle();
        expect(world.status.images).toMatchObject([{ phase: 'Failed', message: image?.message }]);
        expect(world.asks('keep')).toHaveLength(failure + 1);
        world.nowMs = nextMs;
        world.settle();
      }
      world.stop(state);
      world.settle();
      world.generation += 1;
      world.work();
      expect(world.asks('keep')).toHaveLength(5);
      expect(world.condition('Ready')?.status).toBe('True');
      expect(world.asks('build')).toEqual(['a']);
    },
  );

  test('goes on with what its tag meant before until what it means now is there, and lets that go later', () => {
    const world = new World({ images: ['a'], refresh: { interval: '10m' }, retention: { previous: '30m' } });
    world.work();
    world.means.set('a', 'new');
    world.wait(10 * MINUTE_MS);
    world.settle();
    expect(world.status.images).toMatchObject([{ digest: digestOf('a'), phase: 'Ready' }]);
    world.work();
    expect(world.status.images).toMatchObject([{ digest: digestOf('new'), phase: 'Ready' }]);
    expect(world.status.previous).toMatchObject([{ image: pinnedTo('a') }]);
    expect(world.asks('evict')).toEqual([]);
    world.wait(25 * MINUTE_MS);
    world.work();
    expect(world.asks('evict')).toEqual([]);
    // Shortened, it is over.
    world.spec = { ...world.spec, retention: { previous: '20m' } };
    world.work();
    expect(world.asks('evict')).toEqual([pinnedTo('a')]);
    expect(world.status.previous).toBeUndefined();
  });

  test('keeps no more of what its tags meant before than its status can tell of', () => {
    const world = new World({ images: ['a'], refresh: { interval: '1m' }, retention: { previous: '720h' } });
    for (let version = 0; version < 204; version += 1) {
      world.means.set('a', `${version}`);
      world.work();
      world.wait(MINUTE_MS);
    }
    expect(world.status.previous).toHaveLength(200);
    expect(world.asks('evict')).toEqual(['0', '1', '2'].map((version) => pinnedTo(version)));
  });

  test('is looked at once in each round, however often it is asked', () => {
    const world = new World({ images: ['a'], refresh: { interval: '10m' } });
    for (let round = 0; round < 5; round += 1) {
      for (let look = 0; look < 5; look += 1) world.work();
      expect(world.asks('build')).toHaveLength(round + 1);
      expect(world.asks('keep')).toHaveLength(1);
      world.wait(10 * MINUTE_MS);
    }
  });

  test('that is edited adds, takes away, and changes whom it is for', () => {
    const world = new World({ images: ['a'] });
    world.work();
    world.spec = { ...world.spec, images: ['b'] };
    world.work();
    expect(world.status.images).toMatchObject([{ image: 'b', phase: 'Ready' }]);
    expect(world.asks('evict')).toEqual([pinnedTo('a')]);
    world.spec = {
      ...world.spec,
      distribution: { scope: 'Nodes', parallelism: 1, nodeSelector: { pool: 'a' } },
    };
    world.work();
    expect(world.status.nodes).toMatchObject({ desired: 1, ready: 1 });
    expect([...world.orders.values()].filter(({ state }) => state === 'keeping')).toHaveLength(1);
  });

  test('lets what is wanted no longer go once, though what is said of it is lost now and then', () => {
    const world = new World({ images: ['a'] });
    world.work();
    world.spec = { ...world.spec, images: ['b'] };
    for (let turn = 0; turn < 20; turn += 1) {
      world.look(turn % 3 === 2);
      world.end();
      world.wait(1_000);
    }
    expect(world.status.previous).toBeUndefined();
    expect(world.asks('evict')).toEqual([pinnedTo('a')]);
    expect([...world.orders.values()].map(({ spec }) => spec.kind).sort()).toEqual(['build', 'keep']);
  });

  test('is not looked at once more by who takes over with a clock that is behind', () => {
    const world = new World({ images: ['a'], refresh: { interval: '10m' } });
    world.work();
    world.wait(11 * MINUTE_MS);
    world.work();
    expect(world.asks('build')).toHaveLength(2);
    world.wait(-5 * MINUTE_MS);
    world.work();
    expect(world.asks('build')).toHaveLength(2);
    world.wait(15 * MINUTE_MS);
    world.work();
    expect(world.asks('build')).toHaveLength(3);
  });

  test('that is suspended begins nothing, keeps what is there, and goes on when it is not', () => {
    const world = new World({ images: ['a'] });
    world.work();
    world.spec = { ...world.spec, suspend: true };
    world.work();
    for (const type of ['Ready', 'Distributed'])
      expect(world.condition(type)).toMatchObject({ status: 'False', reason: 'Suspended' });
    for (const type of ['Resolved', 'Built']) expect(world.condition(type)?.status).toBe('True');
    expect(world.status).toMatchObject({ ready: '1/1', nodes: { desired: 2, ready: 2 } });
    expect(world.asks('evict')).toEqual([]);
    world.spec = { ...world.spec, suspend: false };
    world.work();
    expect(world.condition('Ready')).toMatchObject({ status: 'True' });
  });

  test('that is suspended from the beginning says so', () => {
    const world = new World({ images: ['a'], suspend: true });
    world.work();
    expect(world.status).toMatchObject({ ready: '0/1', images: [{ phase: 'Pending' }] });
    for (const type of ['Resolved', 'Built', 'Distributed', 'Ready'])
      expect(world.condition(type)).toMatchObject({ status: 'False', reason: 'Suspended' });
    expect(world.asked).toEqual([]);
  });

  test('that is deleted takes away what only it has kept', () => {
    const world = new World({ images: ['a', 'b'] });
    world.work();
    world.isDeleted = true;
    world.keptByOthers = ({ image }) => image === pinnedTo('a');
    const plan = world.work();
    expect(world.asks('evict')).toEqual([pinnedTo('b', 'docker.io/library/b')]);
    expect(plan.previous).toEqual([]);
    expect([...world.orders.values()].filter(({ state }) => state === 'keeping')).toEqual([]);
  });

  test('counts nodes that come, and none that have left', () => {
    const world = new World({ images: ['a'] });
    world.work();
    world.nodes.delete('two');
    world.nodes.set('three', { ...world.nodes.get('one'), pool: 'c' } as never);
    world.nodes.set('four', { ...world.nodes.get('one'), pool: 'c' } as never);
    world.work();
    expect(world.status.nodes).toMatchObject({ desired: 3, ready: 3 });
  });

  test.each([
    ['Windows', { 'kubernetes.io/os': 'windows', 'kubernetes.io/arch': 'amd64' }],
    ['no machine', { 'kubernetes.io/os': 'linux', type: 'virtual-kubelet' }],
  ])('does not wait for a node with %s', (_, labels) => {
    const world = new World({ images: ['a'] });
    world.nodes.set('other', { ...labels, pool: 'a' } as never);
    world.bare.add('other');
    world.work();
    expect(world.status.nodes).toEqual({ desired: 2, ready: 2 });
    expect(world.condition('Ready')?.status).toBe('True');
  });

  test('says that there is no seed, until there is one', () => {
    const world = new World({ images: ['a'], distribution: { scope: 'Seeds' } });
    for (const name of world.nodes.keys()) world.bare.add(name);
    world.settle();
    expect(world.condition('Distributed')?.reason).toBe('Distributing');
    world.work();
    expect(world.condition('Ready')).toMatchObject({
      ...{ status: 'False', reason: 'NoSeeds', message: 'no host has the role seed: swarm.roles' },
    });
    world.bare.clear();
    world.work();
    expect(world.condition('Ready')?.status).toBe('True');
  });

  test('names nodes that no daemon has come from', () => {
    const world = new World({ images: ['a'] });
    for (let count = 1; count <= 7; count += 1) {
      world.nodes.set(`bare-${count}`, { 'kubernetes.io/os': 'linux', pool: 'a' } as never);
      world.bare.add(`bare-${count}`);
    }
    world.work();
    expect(world.condition('Ready')).toMatchObject({
      ...{ status: 'False', reason: 'Distributing' },
      message: '2 of 9 have all of it; no daemon: bare-1, bare-2, bare-3, bare-4, bare-5 and 2 more',
    });
  });

  test.each([
    [{ images: ['a'], distribution: { nodeSelector: { pool: 'none' } } }, 'Distributed', 'NoNodesMatch'],
  ])('of %j says at %s that it is %s', (spec, type, reason) => {
    const world = new World(spec);
    world.work();
    expect(world.condition(type)).toMatchObject({ status: 'False', reason });
    expect(world.condition('Ready')).toMatchObject({ status: 'False', reason });
  });

  test('goes on with good references where one is none, and names that', () => {
    const world = new World({ images: ['good', 'Foo/BAR'] });
    world.work();
    expect(world.status).toMatchObject({
      ready: '1/2',
      images: [{ phase: 'Ready' }, { phase: 'Failed', reason: 'InvalidReference' }],
    });
    expect(world.condition('Resolved')).toMatchObject({
      ...{ status: 'False', reason: 'InvalidReference' },
      message: 'Foo/BAR for linux/amd64: image reference "Foo/BAR" has an invalid repository',
    });
  });

  test.each([
    ['99 99 * * *', 'the schedule "99 99 * * *" is none; write it as 0 3 * * *'],
    ['0 0 31 2 *', 'the schedule "0 0 31 2 *" does not come within four years'],
  ])('has its images with the schedule %s, and says that it is none', (cron, message) => {
    const world = new World({ images: ['a', 'b'], refresh: { cron } });
    world.work();
    expect(world.status).toMatchObject({ ready: '2/2', nodes: { ready: 2 } });
    for (const type of ['Resolved', 'Ready'])
      expect(world.condition(type)).toMatchObject({ status: 'False', reason: 'InvalidSchedule', message });
    for (const type of ['Built', 'Distributed']) expect(world.condition(type)?.status).toBe('True');
  });

  test('says what is wrong with a secret, and asks no registry without it', () => {
    const world = new World({ images: ['a'] });
    world.secretProblem = { reason: 'SecretNotFound', message: 'there is no secret team/registry' };
    world.work();
    expect(world.asks('build')).toEqual([]);
    expect(world.condition('Resolved')).toMatchObject({
      reason: 'SecretNotFound',
      message: 'a for linux/amd64: there is no secret team/registry',
    });
    world.secretProblem = undefined;
    world.work();
    expect(world.condition('Ready')).toMatchObject({ status: 'True' });
  });

  test('has each node have its own platform, unless it names some for all', () => {
    const other = { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'arm64', pool: 'a' };
    const selectors = (world: World) =>
      world.asked.flatMap((order) => (order.kind === 'keep' ? [order.distribution.nodeSelector] : []));
    const world = new World({ images: ['a'], platforms: undefined });
    world.nodes.set('other', other);
    world.work();
    expect(selectors(world)).toEqual([{ 'kubernetes.io/arch': 'amd64' }, { 'kubernetes.io/arch': 'arm64' }]);
    expect(world.condition('Ready')).toMatchObject({ status: 'True' });
    expect(world.status.nodes).toEqual({ desired: 3, ready: 3 });
    const named = new World({ images: ['a'], platforms: ['linux/amd64', 'linux/arm64'] });
    named.nodes.set('other', other);
    named.work();
    expect(selectors(named)).toEqual([undefined, undefined]);
    expect(named.status.nodes).toEqual({ desired: 3, ready: 3 });
  });

  test('is for the platforms of its nodes where it names none', () => {
    const world = new World({ images: ['a'], platforms: undefined });
    world.nodes.set('arm', { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'arm64', pool: 'a' });
    world.settle();
    expect(world.platforms).toEqual(['linux/amd64', 'linux/arm64']);
  });

  test('keeps what it has for a platform whose nodes have left, until it is edited', () => {
    const world = new World({
      ...{ images: ['a'], platforms: undefined },
      distribution: { nodeSelector: { pool: 'arm' } },
    });
    const arm = { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'arm64', pool: 'arm' };
    world.nodes.set('arm', arm);
    world.work();
    // Scaled to nothing, and then with others.
    world.nodes.delete('arm');
    world.work();
    expect(world.platforms).toEqual(['linux/arm64']);
    world.nodes.set('other', { ...arm, 'kubernetes.io/arch': 'amd64' });
    world.work();
    expect(world.platforms).toEqual(['linux/amd64', 'linux/arm64']);
    expect(world.asks('evict')).toEqual([]);
    world.generation += 1;
    world.work();
    expect(world.platforms).toEqual(['linux/amd64']);
    expect(world.asks('evict')).toEqual([pinnedTo('a')]);
  });

  test.each(['None', 'Seeds', 'Nodes'])('is for the platforms that there are with the scope %s', (scope) => {
    const nodeSelector = scope === 'Nodes' ? { nodeSelector: { pool: 'none' } } : {};
    const world = new World({
      images: ['a'],
      platforms: undefined,
      distribution: { scope, ...nodeSelector },
    });
    world.nodes.clear();
    world.settle();
    expect(world.platforms).toEqual(['linux/amd64']);
    const other = new World({ ...world.spec, platforms: undefined });
    other.nodes.clear();
    other.nodes.set('arm', { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'arm64', pool: 'a' });
    other.settle();
    expect(other.platforms).toEqual(['linux/arm64']);
  });

  test('becomes ready, and at last leaves nothing behind, whatever has happened to it', () => {
    const images = fc.uniqueArray(fc.constantFrom('a', 'b', 'c:1', 'quay.io/d/e'), { minLength: 1 });
    const step = fc.oneof(
      fc.constantFrom('look', 'end', 'fail', 'wait', 'suspend', 'resume', 'leave', 'move'),
      fc.record({ images }),
      fc.record({ pool: fc.constantFrom('a', 'b') }),
    );
    fc.assert(
      fc.property(images, fc.array(step, { maxLength: 40 }), (first, steps) => {
        const world = new World({
          images: first,
          refresh: { interval: '5m' },
          retention: { previous: '7m' },
        });
        let version = 0;
        for (const each of steps) {
          if (each === 'end') world.end();
          else if (each === 'fail') world.stop('failed');
          else if (each === 'wait') world.wait(4 * MINUTE_MS);
          else if (each === 'suspend' || each === 'resume')
            world.spec = { ...world.spec, suspend: each === 'suspend' };
          else if (each === 'move') {
            version += 1;
            for (const image of first) world.means.set(image, `${image} ${version}`);
          } else if (each === 'leave') world.nodes.delete('two');
          else if (typeof each === 'object' && 'images' in each)
            world.spec = { ...world.spec, images: each.images };
          else if (typeof each === 'object')
            world.spec = { ...world.spec, distribution: { ...world.spec.distribution, nodeSelector: each } };
          world.look();
        }
        world.spec = { ...world.spec, suspend: false, distribution: { scope: 'Nodes', parallelism: 1 } };
        for (let turn = 0; turn < 6; turn += 1) {
          world.work();
          world.wait(11 * MINUTE_MS);
        }
        world.work();
        expect(world.condition('Ready')).toMatchObject({ status: 'True' });
        world.isDeleted = true;
        const plan = world.work();
        expect(plan.previous).toEqual([]);
        const kept = [...world.orders.values()].filter(
          ({ state }) => state === 'keeping' || state === 'running',
        );
        expect(kept).toEqual([]);
        const evicted = new Set(world.asks('evict'));
        for (const image of world.asks('keep')) expect(evicted).toContain(image);
      }),
    );
  });
});
