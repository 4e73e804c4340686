import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { type RedisServer, startRedis, temporaryDirectory } from '@drakkar/lab';
import { decodeTrace, digestOf, peerIdOf, SnapshotMessageSchema } from '@drakkar/protocol';
import { Traces } from '@drakkar/service';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readAnnounced } from '../../src/snapshots/announced.ts';
import { SnapshotCatalogue } from '../../src/snapshots/catalogue.ts';
import { SharedSnapshots } from '../../src/snapshots/shared.ts';
import { RedisState, WriteBehind } from '../../src/state/index.ts';
import { snapshotOf } from '../kit/snapshot.ts';

const SOON = { timeout: 20_000, interval: 20 };
const DAY_MS = 24 * 60 * 60_000;
const LIMITS = { maxSnapshots: 100, maxBytes: 2 ** 20, keepMs: DAY_MS };
const announcer = peerIdOf(generateKeyPairSync('ed25519').privateKey);
const running = new AsyncDisposableStack();
let redis: RedisServer;
let prefix = 0;

beforeAll(async () => {
  redis = running.use(await startRedis());
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(() => {
  prefix += 1;
});

/** What one supernode knows of snapshots. */
async function open() {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryDirectory('shared'));
  const state = stack.use(await RedisState.open({ url: redis.url, keyPrefix: `shared-${prefix}` }));
  const writer = stack.use(new WriteBehind(state));
  const catalogue = stack.use(new SnapshotCatalogue(join(path, 'snapshots.sqlite'), LIMITS));
  const traces = stack.use(new Traces(join(path, 'traces.sqlite'), { maxBytes: 2 ** 20 }));
  const share = () =>
    SharedSnapshots.open({
      ...{ state, writer, catalogue, traces, keepMs: LIMITS.keepMs },
      log: pino({ level: 'silent' }),
    });
  const kept = stack.move();
  return {
    catalogue,
    traces,
    share: async () => void kept.use(await share()),
    manifests: () => [...catalogue.all()].map(({ snapshot }) => snapshot.manifest).sort(),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const known = (name: string) => {
  const { message } = snapshotOf(name);
  const encoded = toBinary(SnapshotMessageSchema, message);
  return { ...readAnnounced(message), announcer, pushed: false, message: encoded };
};

describe('what supernodes of one state know of snapshots', () => {
  test('is the same: what one learns, what one forgets, and for one that begins later', async () => {
    await using first = await open();
    const [a, b, c] = [known('a'), known('b'), known('c')];
    // From when it was alone.
    first.catalogue.put(a, Date.now());
    await first.share();
    await using second = await open();
    second.catalogue.put(known('of before, and forgotten since'), Date.now());
    await expect
      .poll(async () => {
        await using late = await open();
        await late.share();
        return late.manifests();
      }, SOON)
      .toEqual([a.manifest]);
    await second.share();
    expect(second.manifests()).toEqual([a.manifest]);
    second.catalogue.put(b, Date.now());
    first.catalogue.put(c, Date.now());
    const all = [a, b, c].map(({ manifest }) => manifest).sort();
    for (const { manifests } of [first, second]) await expect.poll(manifests, SOON).toEqual(all);
    expect(second.catalogue.find(c.registry, c.root, c.platform, Date.now())).toEqual(c);
    first.catalogue.drop(b.registry, b.manifest);
    await expect.poll(second.manifests, SOON).toEqual([a, c].map(({ manifest }) => manifest).sort());
  });

  test('is what starts read, too', async () => {
    await using first = await open();
    await first.share();
    await using second = await open();
    await second.share();
    const start = { layout: digestOf('layout'), startKey: digestOf('start') };
    const trace = [{ device: 0, offset: 3 * 4096, length: 2 * 4096 }];
    first.traces.report(start, 'one', trace, Date.now());
    await expect.poll(() => decodeTrace(second.traces.learned(start)), SOON).toEqual(trace);
    second.traces.report(start, 'two', [{ device: 0, offset: 9 * 4096, length: 4096 }], Date.now());
    await expect
      .poll(() => first.traces.reports(start).map(({ reporter }) => reporter), SOON)
      .toEqual(['one', 'two']);
  });

  test('comes again after the state was away', async () => {
    await using first = await open();
    await first.share();
    await using second = await open();
    await second.share();
    await redis.kill();
    const a = known('meanwhile');
    first.catalogue.put(a, Date.now());
    await redis.start();
    await expect.poll(second.manifests, SOON).toEqual([a.manifest]);
  });
});
