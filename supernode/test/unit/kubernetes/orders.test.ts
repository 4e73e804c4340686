import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type OrderSpec, PullSecrets } from '@drakkar/kubernetes';
import { type PeerId, parseDockerAuths } from '@drakkar/protocol';
import { Tracing } from '@drakkar/service';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { supernodeConfiguration } from '../../../src/config.ts';
import { type JobHost, Jobs, jobSpecSchema } from '../../../src/jobs/index.ts';
import { parseTask } from '../../../src/jobs/tasks.ts';
import { Kubernetes } from '../../../src/kubernetes/kubernetes.ts';
import { Orders } from '../../../src/kubernetes/orders.ts';
import { SqliteState, WriteBehind } from '../../../src/state/index.ts';

const log = pino({ level: 'silent' });
const PEER = 'peer' as PeerId;
const HOST: JobHost = { peer: PEER, name: 'one', labels: {}, roles: [], doesTasks: true };
const IMAGE = `registry.example/app@sha256:${'0'.repeat(64)}`;
const BUILD: OrderSpec = { kind: 'build', image: 'registry.example/app', platform: 'linux/amd64' };
const secrets = new PullSecrets(
  [parseDockerAuths('{"registry.example":{"username":"me","password":"secret"}}')],
  undefined,
);

const keep = (image = IMAGE): OrderSpec => ({
  ...{ kind: 'keep', image, platform: 'linux/amd64' },
  distribution: { scope: 'Nodes', parallelism: '10%' },
});

describe('orders', () => {
  let directory: string;
  let stack: AsyncDisposableStack;
  let jobs: Jobs;
  let orders: Orders;
  /** Jobs that the host was given something of. */
  let sent: Set<string>;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'orders-'));
    await open();
  });
  afterEach(async () => {
    await stack[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  async function open(): Promise<void> {
    stack = new AsyncDisposableStack();
    const given = new Set<string>();
    sent = given;
    const state = stack.use(new SqliteState(join(directory, 'state.sqlite')));
    const writer = stack.use(new WriteBehind(state));
    const known: { orders?: Orders } = {};
    const cluster = {
      ...{ hosts: () => [HOST], host: () => HOST, awayHosts: () => [], cancel: () => {} },
      ...{ haveBytes: () => 0, findSnapshot: () => null },
      send: (_: PeerId, task: string) => void given.add(parseTask(task).job),
      isHeld: (job: Parameters<Orders['isHeld']>[0]) => known.orders?.isHeld(job) ?? true,
    };
    const clock = { wallMs: Date.now, evenMs: () => performance.now(), chance: Math.random };
    const modules = { state, writer, cluster, clock, log, tracing: new Tracing(), isSure: () => true };
    jobs = stack.use(await Jobs.open(modules));
    orders = stack.use(await Orders.open({ state, jobs, log, hosts: () => [HOST] }));
    known.orders = orders;
  }
  const restart = async () => {
    await stack[Symbol.asyncDispose]();
    await open();
  };
  const running = () => [...jobs.running()];

  test('are as they were after a restart, and nothing is asked for twice', async () => {
    await orders.begin('owner', 'build', BUILD);
    await orders.begin('owner', 'keep', keep());
    await orders.begin('other', 'keep', keep());
    const before = running().map(({ id }) => id);
    await restart();
    await orders.begin('owner', 'keep', keep());
    expect(running().map(({ id }) => id)).toEqual(before);
    expect([...orders.owners()].sort()).toEqual(['other', 'owner']);
    expect([...orders.ordersOf('owner').keys()].sort()).toEqual(['build', 'keep']);
    expect(orders.isKept(IMAGE, 'linux/amd64', 'owner')).toBe(true);
    await orders.end('other', 'keep');
    expect(orders.isKept(IMAGE, 'linux/amd64', 'owner')).toBe(false);
  });

  test('end when they are told to, and are forgotten', async () => {
    const changed: string[] = [];
    stack.use(orders.onChange((owner) => void changed.push(owner)));
    await orders.begin('owner', 'build', BUILD);
    const [job] = running();
    await orders.end('owner', 'build');
    await orders.end('owner', 'build');
    expect(changed).toContain('owner');
    expect((await jobs.get(job?.id ?? '')).state).toBe('cancelled');
    expect([...orders.ordersOf('owner')]).toEqual([]);
    await restart();
    expect([running(), [...orders.owners()]]).toEqual([[], []]);
  });

  test('leave room for what others ask for', async () => {
    const all = Array.from({ length: 1_000 }, (_, index) => `keep-${index}`);
    for (const name of all) await orders.begin('owner', name, keep());
    const spec = jobSpecSchema.parse({ kind: 'build', image: 'app' });
    await expect(jobs.create(spec, 'somebody')).resolves.toMatchObject({ state: 'waiting' });
  });

  test.each([true, false])('wait until they are known, where there are to be any: %s', async (enabled) => {
    await orders.begin('owner', 'build', BUILD);
    const [order] = running();
    const other = await jobs.create(jobSpecSchema.parse({ kind: 'build', image: 'app' }), 'somebody');
    const kubernetes = new Kubernetes(
      supernodeConfiguration.complete({ kubernetes: { enabled } }).kubernetes,
    );
    expect(order && kubernetes.isHeld(order)).toBe(enabled);
    expect(kubernetes.isHeld(other)).toBe(false);
  });

  test('wait after a restart until their owner has lent what registries were shown before', async () => {
    orders.lend('owner', secrets);
    await orders.begin('owner', 'build', BUILD);
    await orders.begin('open', 'build', { ...BUILD, image: 'other.example/app' });
    await restart();
    await expect.poll(() => sent.size).toBeGreaterThan(0);
    const [held, open] = ['registry.example/app', 'other.example/app'].map((image) =>
      running().find(({ spec }) => 'image' in spec && spec.image === image),
    );
    if (held === undefined || open === undefined) throw new Error('a job is not there');
    expect([orders.isHeld(held), orders.isHeld(open)]).toEqual([true, false]);
    expect([...sent]).toEqual([open.id]);
    orders.lend('owner', secrets);
    expect(orders.isHeld(held)).toBe(false);
    expect(orders.credentialFor(held)).toEqual({ username: 'me', password: 'secret' });
    expect(orders.credentialFor(open)).toBeUndefined();
    await expect.poll(() => sent.has(held.id)).toBe(true);
  });
});
