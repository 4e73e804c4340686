import {
  type FaultyProxy,
  type Registry,
  type SeenRequest,
  startFaultyProxy,
  startRegistry,
} from '@drakkar/lab';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createRegistryClient } from '../../src/upstream/index.ts';
import { HASTY, pushRandomImage, randomBlob, startStack, type TestImage } from '../kit/stack.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const traceparent = `00-${TRACE}-00f067aa0ba902b7-01`;

describe('a request to the mirror', () => {
  const running = new AsyncDisposableStack();
  let registry: Registry;
  let proxy: FaultyProxy;
  let image: TestImage;
  let seen: SeenRequest[];

  beforeAll(async () => {
    registry = running.use(await startRegistry());
    proxy = running.use(await startFaultyProxy(registry.url));
    using client = createRegistryClient(HASTY);
    const name = { registry: proxy.host, repository: 'traced/thing' };
    image = await pushRandomImage(client, name, 'v1', [randomBlob(100_000)]);
  });
  beforeEach(() => {
    seen = [];
    proxy.fault = (request) => void seen.push(request);
  });
  afterAll(() => running[Symbol.asyncDispose]());

  /** Asks for the manifest and all that does not exist. @returns the trace that each answer names */
  async function ask(mirror: string, headers: Record<string, string>): Promise<(string | null)[]> {
    const answers = [`manifests/${image.manifestDigest}`, 'manifests/none'].map(async (path) => {
      const answer = await fetch(`${mirror}/v2/traced/thing/${path}?ns=${proxy.host}`, { headers });
      await answer.arrayBuffer();
      return answer.headers.get('x-request-id');
    });
    return await Promise.all(answers);
  }

  test('says in its answer, also that there is none, to which trace it belongs: the caller’s, or its own', async () => {
    await using stack = await startStack();
    expect(await ask(stack.mirror.url, { traceparent })).toEqual([TRACE, TRACE]);
    const [one, other] = await ask(stack.mirror.url, { traceparent: 'nonsense' });
    for (const trace of [one, other]) expect(trace).toMatch(/^[0-9a-f]{32}$/);
    expect(one).not.toBe(other);
  });

  test('tells no registry of its trace, unless that is wanted', async () => {
    {
      await using stack = await startStack();
      await ask(stack.mirror.url, { traceparent });
    }
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.filter(({ headers }) => headers.traceparent !== undefined)).toEqual([]);
    seen = [];
    await using stack = await startStack({ upstream: { tellsTrace: true } });
    await ask(stack.mirror.url, { traceparent });
    expect(seen.length).toBeGreaterThan(0);
    for (const { headers } of seen) expect(headers.traceparent).toContain(TRACE);
  });
});
