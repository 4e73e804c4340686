import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SqliteState } from '../../../src/state/index.ts';
import { HOOK_KINDS, type Hook, Hooks, type Pushed } from '../../../src/webhooks/index.ts';

const SECRET = 'a secret of some length'.replaceAll(' ', '-');

describe('a webhook', () => {
  let state: SqliteState;
  let hooks: Hooks;
  let hook: Hook;
  let isFull: boolean;
  /** What is taken waits for it. */
  let hold: Promise<void> | undefined;
  let had: string[][];
  let heard: string[];

  beforeEach(async () => {
    state = new SqliteState(':memory:');
    isFull = false;
    hold = undefined;
    had = [];
    heard = [];
    const pushed = async (images: readonly Pushed[]) => {
      await hold;
      if (isFull) throw Object.assign(new Error('too many'), { statusCode: 429 });
      had.push(images.map(({ repository }) => repository));
      return images.length;
    };
    hooks = new Hooks({ state, pushed, nowMs: Date.now });
    hook = await hooks.create({ name: 'lab', kind: 'distribution', secret: SECRET }, 'me');
  });
  afterEach(() => state[Symbol.asyncDispose]());

  const eventOf = (repository: string) => ({
    ...{ id: repository, action: 'push', request: { host: 'r.io' } },
    target: { mediaType: 'application/vnd.oci.image.manifest.v1+json', repository, tag: '1' },
  });
  const take = async (body: unknown, secret = SECRET) => {
    const headers = {
      authorization: `Bearer ${secret}`,
      'content-type': 'application/vnd.docker.distribution.events.v1+json',
    };
    return await hooks.take(hook.id, Buffer.from(JSON.stringify(body)), headers, (kind, outcome) =>
      heard.push(`${kind} ${outcome}`),
    );
  };

  test('takes all that one delivery says together, and no second time', async () => {
    const body = { events: [eventOf('a'), eventOf('b')] };
    expect(await take(body)).toMatchObject({ outcome: 'taken', images: 2, policies: 2 });
    expect(await take(body)).toMatchObject({ outcome: 'repeated' });
    expect(had).toEqual([['a', 'b']]);
  });

  test('takes again what could not be kept', async () => {
    const body = { events: [eventOf('a')] };
    isFull = true;
    await expect(take(body)).rejects.toMatchObject({ statusCode: 429 });
    expect(heard).toEqual(['distribution postponed']);
    isFull = false;
    expect(await take(body)).toMatchObject({ outcome: 'taken' });
  });

  test('takes so many at once, and has the senders of the others come again', async () => {
    await take({ events: [] });
    const { promise, resolve } = Promise.withResolvers<void>();
    hold = promise;
    const all = Array.from({ length: 130 }, (_, number) => take({ events: [eventOf(`r${number}`)] }));
    const outcomes = Promise.allSettled(all);
    await expect.poll(() => hooks.lastOf(hook.id).postponed.count).toBe(30);
    resolve();
    const reasons = (await outcomes).flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    expect(reasons).toHaveLength(30);
    for (const reason of reasons) expect(reason).toMatchObject({ statusCode: 429, retryAfterSeconds: 5 });
    expect(heard.filter((each) => each === 'distribution postponed')).toHaveLength(30);
    expect(hooks.lastOf(hook.id).postponed).toMatchObject({ detail: 'too many deliveries at once' });
    expect(await take({ events: [eventOf('later')] })).toMatchObject({ outcome: 'taken' });
  });

  test('keeps what came of the last deliveries, in pages', async () => {
    for (let number = 0; number < 210; number += 1) await take({ events: [eventOf(`r${number}`)] });
    expect(hooks.lastOf(hook.id).deliveries).toHaveLength(5);
    const seen: string[] = [];
    for (let after: string | null | undefined; after !== null; ) {
      const page = await hooks.deliveries(hook.id, { after, limit: 30 });
      seen.push(...page.items.map(({ id }) => id));
      after = page.next;
    }
    expect(seen).toHaveLength(200);
    expect(seen).toEqual([...new Set(seen)].sort().reverse());
    await expect(hooks.deliveries('none', { limit: 1 })).rejects.toMatchObject({ code: 'not_found' });
  });

  test.each(HOOK_KINDS)('of %s can be tried with an example, and with what one has', async (kind) => {
    const registry = 'registry.example';
    const { id } = await hooks.create({ name: 'tried', kind, registry }, 'me');
    const { example, pushed } = await hooks.try(id);
    expect(pushed).toMatchObject([{ registry, repository: 'team/app', tag: '1.4' }]);
    expect(await hooks.try(id, example)).toEqual({ example: undefined, pushed });
    await expect(hooks.try(id, 7)).rejects.toMatchObject({ code: 'invalid_argument' });
    expect(had).toEqual([]);
    expect(hooks.lastOf(id)).toEqual({
      deliveries: [],
      lastTaken: null,
      postponed: { count: 0, lastAtMs: null, detail: null },
    });
  });

  test('keeps the last delivery that something was done for, whatever comes after it', async () => {
    await take({ events: [eventOf('a')] });
    for (let number = 0; number < 210; number += 1) await take({ events: [] });
    const { deliveries, lastTaken } = hooks.lastOf(hook.id);
    expect(deliveries.map(({ outcome }) => outcome)).not.toContain('taken');
    expect(lastTaken).toMatchObject({ outcome: 'taken', detail: '1 images, 1 times for a policy' });
  });

  test('lets be counted what it refuses, too', async () => {
    await expect(take({ events: [] }, 'another-secret-of-length')).rejects.toMatchObject({
      code: 'unauthorized',
    });
    await expect(take({ events: 7 })).rejects.toMatchObject({ code: 'invalid_argument' });
    await take({ events: [] });
    expect(heard).toEqual(['distribution refused', 'distribution malformed', 'distribution nothing']);
    const { deliveries } = hooks.lastOf(hook.id);
    expect(deliveries.map(({ outcome }) => outcome)).toEqual(['nothing', 'malformed', 'refused']);
  });
});
