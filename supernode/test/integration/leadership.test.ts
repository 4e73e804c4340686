import { setTimeout as sleep } from 'node:timers/promises';
import { type RedisServer, startRedis } from '@drakkar/lab';
import { type PeerId, peerIdFromRaw } from '@drakkar/protocol';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Replicas } from '../../src/replicas/index.ts';
import { type Check, FencedState, RedisState } from '../../src/state/index.ts';

const SOON = { timeout: 20_000, interval: 20 };
const running = new AsyncDisposableStack();
let redis: RedisServer;
let ended: AsyncDisposableStack;
let keyPrefix: string;
let prefixes = 0;

beforeAll(async () => {
  redis = running.use(await startRedis());
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(() => {
  ended = new AsyncDisposableStack();
  prefixes += 1;
  keyPrefix = `leadership-${prefixes}`;
});
afterEach(() => ended[Symbol.asyncDispose]());

const peer = (number: number): PeerId => peerIdFromRaw(Buffer.alloc(32, number));

interface One {
  readonly replicas: Replicas;
  /** What it changes something by while it leads. */
  readonly fence: Check | undefined;
  /** How often it has begun to lead. */
  readonly begun: number;
  /** Its connection ends, and nothing of it is heard any more. */
  vanish(): Promise<void>;
}

async function startOne(number: number): Promise<One> {
  const state = await RedisState.open({ url: redis.url, keyPrefix });
  let fence: Check | undefined;
  let begun = 0;
  const self = { peer: peer(number), address: `127.0.0.1:${number}/${peer(number)}`, version: '1.0.0' };
  const replicas = new Replicas(
    { state, self, hosts: () => 0, requireState: async () => {}, log: pino({ level: 'silent' }) },
    {
      changed: () => {},
      leads: (own) => {
        begun += 1;
        fence = own;
      },
      follows: () => {
        fence = undefined;
      },
      ends: async () => {},
    },
  );
  ended.defer(async () => {
    await replicas[Symbol.asyncDispose]();
    await state[Symbol.asyncDispose]();
  });
  await replicas.start();
  return {
    replicas,
    get fence() {
      return fence;
    },
    get begun() {
      return begun;
    },
    vanish: () => state[Symbol.asyncDispose](),
  };
}

describe('the lead', () => {
  test('is one supernode’s, and passes at once from one that ends', async () => {
    const all = await Promise.all([1, 2, 3].map(startOne));
    const leading = () => all.filter(({ fence }) => fence !== undefined);
    await expect.poll(() => leading().length, SOON).toBe(1);
    const [first] = leading() as [One];
    await first.replicas[Symbol.asyncDispose]();
    await expect.poll(() => leading().filter((one) => one !== first).length, SOON).toBe(1);
  });

  test('passes from one that vanishes, which changes nothing any more, whatever it believes', async () => {
    const first = await startOne(1);
    await expect.poll(() => first.fence, SOON).toBeDefined();
    await first.vanish();
    const second = await startOne(2);
    await expect.poll(() => second.fence, SOON).toBeDefined();
    await using state = await RedisState.open({ url: redis.url, keyPrefix });
    const [before, after] = [first, second].map(({ fence }) => new FencedState(state, fence as Check)) as [
      FencedState,
      FencedState,
    ];
    await after.commit([{ key: 'jobs/1', value: 'by the second' }]);
    await expect(before.commit([{ key: 'jobs/1', value: 'too late' }])).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect((await state.get('jobs/1'))?.value).toBe('by the second');
    // What is not as expected for another reason is that alone.
    expect(await after.commit([{ key: 'jobs/1', value: 'x', expects: 1 }])).toBeUndefined();
  });

  test('stays where it is while Redis is away for longer than a lease, and begins no second time', async () => {
    const all = await Promise.all([1, 2].map(startOne));
    await expect.poll(() => all.filter(({ fence }) => fence !== undefined).length, SOON).toBe(1);
    const leader = all.find(({ fence }) => fence !== undefined) as One;
    await redis.kill();
    expect(leader.replicas.isSure).toBe(true);
    await sleep(6_000);
    expect(leader.replicas.isSure).toBe(false);
    await redis.start();
    await using state = await RedisState.open({ url: redis.url, keyPrefix });
    const fenced = new FencedState(state, leader.fence as Check);
    expect(await fenced.commit([{ key: 'jobs/1', value: 'still' }])).toBeDefined();
    await expect.poll(() => leader.replicas.isSure, SOON).toBe(true);
    await sleep(6_000);
    expect(all.map(({ begun }) => begun).sort()).toEqual([0, 1]);
    expect(all.map(({ replicas }) => replicas.list().length)).toEqual([2, 2]);
  });
});
