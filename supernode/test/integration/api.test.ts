import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SupernodeClient } from '@drakkar/client';
import { temporaryDirectory } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Supernode, startSupernode, supernodeConfiguration } from '../../src/index.ts';

const running = new AsyncDisposableStack();
let supernode: Supernode;
let local: SupernodeClient;
let url: string;
const tokens: Record<'viewer' | 'operator' | 'admin', string> = { viewer: '', operator: '', admin: '' };

/** In a directory of its own. */
async function start(api: object = {}): Promise<{ supernode: Supernode; local: SupernodeClient }> {
  const { path } = running.use(await temporaryDirectory('api'));
  const config = supernodeConfiguration.complete({
    stateDirectory: path,
    address: '127.0.0.1',
    port: 0,
    metrics: { port: 0 },
    api: { port: 0, ...api },
    log: { level: 'error' },
  });
  const started = running.use(await startSupernode(config));
  return { supernode: started, local: new SupernodeClient({ socketPath: join(path, 'admin.sock') }) };
}

beforeAll(async () => {
  ({ supernode, local } = await start({ requestsPerMinute: 10_000 }));
  url = supernode.status().apiUrl;
  for (const role of ['viewer', 'operator', 'admin'] as const)
    tokens[role] = (await local.createToken({ name: `the ${role}`, role })).text;
});
afterAll(() => running[Symbol.asyncDispose]());

const as = (role: keyof typeof tokens) => new SupernodeClient({ url, token: tokens[role] });
const JOB = { spec: { kind: 'preheat', image: 'registry.example/app:1' } };

async function call(path: string, init: RequestInit & { token?: string } = {}) {
  const { token = tokens.admin, ...rest } = init;
  const answer = await fetch(`${url}${path}`, {
    ...rest,
    headers: {
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...(rest.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...rest.headers,
    },
  });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

describe('the API', () => {
  test('lets nobody in without a good token, and nobody do more than their role may', async () => {
    for (const token of ['', 'drk_x', `${tokens.viewer.slice(0, -1)}_`, 'x'.repeat(5000)])
      expect(await call('/api/v1/status', { token })).toMatchObject({ status: 401 });
    expect(
      await call('/api/v1/status', { headers: { authorization: 'Basic abc' }, token: '' }),
    ).toMatchObject({
      status: 401,
    });
    await expect(as('viewer').createJob({ kind: 'build', image: 'a' })).rejects.toMatchObject({
      code: 'forbidden',
    });
    await expect(as('operator').tokens()).rejects.toMatchObject({ code: 'forbidden' });
    await expect(as('operator').joinToken()).rejects.toMatchObject({ code: 'forbidden' });
    expect(await as('viewer').whoAmI()).toMatchObject({ name: 'the viewer', role: 'viewer' });
    const brief = await local.createToken({ name: 'brief', role: 'operator', ttlMs: 60_000 });
    const { id: token, expiresAtMs } = brief;
    expect(await new SupernodeClient({ url, token: brief.text }).whoAmI()).toEqual({
      ...{ name: 'brief', role: 'operator', token, expiresAtMs },
    });
    expect(await local.whoAmI()).toMatchObject({ name: 'local', role: 'admin', token: null });
    expect((await as('viewer').status()).peer).toBe(supernode.status().peer);
    expect((await as('admin').tokens()).map(({ name }) => name)).toContain('the viewer');
  });

  test('says to which trace an answer belongs, and a job goes on with that of who asks for it', async () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
    const made = await call('/api/v1/jobs', { method: 'POST', body: JSON.stringify(JOB), headers });
    expect(made.headers.get('x-request-id')).toBe(traceId);
    const { id, trace } = JSON.parse(made.text);
    expect(trace).toMatchObject({ traceId, isSampled: true });
    for (const { status, token, path } of [
      { status: 400, token: tokens.admin, path: '/api/v1/jobs/none' },
      { status: 404, token: tokens.admin, path: '/nowhere' },
      { status: 401, token: '', path: '/api/v1/jobs' },
    ]) {
      const refused = await call(path, { token });
      expect(refused.status).toBe(status);
      const own = refused.headers.get('x-request-id');
      expect(own).toMatch(/^[0-9a-f]{32}$/);
      expect(own).not.toBe(traceId);
      expect(JSON.parse(refused.text).traceId).toBe(own);
    }
    expect((await local.actOnJob(id, 'cancel')).trace).toEqual(trace);
    const again = await call(`/api/v1/jobs/${id}/retry`, { method: 'POST' });
    expect(JSON.parse(again.text).trace.traceId).toBe(again.headers.get('x-request-id'));
    await local.actOnJob(id, 'cancel');
    await local.removeJob(id);
  });

  test('knows its paths however they are spelt', async () => {
    const { port } = new URL(url);
    /** As it stands on the wire: `fetch` would tidy it up. */
    const raw = (line: string, headers: Record<string, string> = {}) =>
      new Promise<number>((resolve, reject) => {
        const body = JSON.stringify({ name: 'stolen', role: 'admin' });
        const outgoing = httpRequest({
          port,
          host: '127.0.0.1',
          method: 'POST',
          path: line,
          headers: { 'content-type': 'application/json', 'content-length': body.length, ...headers },
        });
        outgoing.once('error', reject);
        outgoing.once('response', (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        });
        outgoing.end(body);
      });
    const before = (await as('admin').tokens()).length;
    for (const line of [
      '/api/v1/tokens',
      '/%61pi/v1/tokens',
      '/api/%76%31/tokens',
      '/api/v1/%74okens',
      'http://elsewhere/api/v1/tokens',
      '/api/v1/tokens;x',
      '//api/v1/tokens',
      '/api/v1/tokens?x',
      '/./api/v1/tokens',
    ]) {
      expect([401, 404], line).toContain(await raw(line));
      expect([401, 404], line).toContain(await raw(line, { authorization: 'Bearer drk_wrong' }));
      expect([403, 404], line).toContain(await raw(line, { authorization: `Bearer ${tokens.viewer}` }));
    }
    expect((await as('admin').tokens()).length).toBe(before);
  });

  test('says what is wrong as RFC 9457 has it, and nothing of what it is itself', async () => {
    const bad = await call('/api/v1/jobs', {
      method: 'POST',
      body: JSON.stringify({ spec: { kind: 'preheat', image: 'Not An Image', surprise: 1 } }),
    });
    expect(bad.status).toBe(400);
    expect(bad.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(JSON.parse(bad.text)).toMatchObject({
      type: 'about:blank',
      status: 400,
      code: 'invalid_argument',
    });
    expect(bad.text).toContain('image');
    expect(bad.text).toContain('surprise');
    for (const [body, status] of [
      ['{', 400],
      ['[]', 400],
      ['null', 400],
      [JSON.stringify({ ...JOB, requestId: '../../x' }), 400],
      [JSON.stringify({ spec: { ...JOB.spec, target: { percentage: 10, hosts: 3 } } }), 400],
      [JSON.stringify({ spec: { ...JOB.spec, parallelism: '101%' } }), 400],
      [JSON.stringify({ spec: { kind: 'get', url: 'file:///etc/passwd' } }), 400],
      [JSON.stringify({ spec: { kind: 'get', url: 'https://me:secret@host/file' } }), 400],
      [JSON.stringify({ spec: { kind: 'evict' } }), 400],
      [JSON.stringify({ spec: { kind: 'evict', digest: 'sha256:zz' } }), 400],
      [`"${'x'.repeat(2_000_000)}"`, 413],
    ] as const)
      expect(await call('/api/v1/jobs', { method: 'POST', body }), body.slice(0, 80)).toMatchObject({
        status,
      });
    const other = await call('/api/v1/jobs', {
      method: 'POST',
      body: 'a=b',
      headers: { 'content-type': 'text/plain' },
    });
    expect(other.status).toBe(415);
    expect(await call('/api/v1/nothing?token=secret')).toMatchObject({
      status: 404,
      text: expect.not.stringContaining('secret'),
    });
    expect(await call('/api/v1/jobs/..%2f..%2fx')).toMatchObject({ status: 400 });
    expect(await call('/api/v1/hosts/%00')).toMatchObject({ status: 400 });
    for (const [part, status] of [
      ['%E0%A4%A', 400],
      ['x'.repeat(5000), 414],
    ] as const) {
      const refused = await call(`/api/v1/hosts/${part}?token=secret`);
      expect(refused.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(JSON.parse(refused.text)).toMatchObject({ status, code: 'invalid_argument' });
      expect(refused.text).not.toContain('secret');
    }
  });

  test('gives the topology compressed to who can read that, and as it is to others', async () => {
    const text = JSON.stringify({ hosts: [], feeds: [] });
    for (const [accepts, encoding] of [
      ['gzip', 'gzip'],
      ['br, gzip;q=0.5', 'gzip'],
      ['gzip;q=0', null],
      ['identity', null],
    ] as const) {
      const answer = await call('/api/v1/topology', { headers: { 'accept-encoding': accepts } });
      expect(answer.headers.get('content-encoding')).toBe(encoding);
      expect(answer.headers.get('vary')).toContain('accept-encoding');
      expect(answer).toMatchObject({ status: 200, text });
    }
  });

  test('describes itself', async () => {
    const document = JSON.parse((await call('/api/docs/json')).text);
    expect(document).toMatchObject({ openapi: '3.1.0' });
    const page = await call('/api/docs', { token: '' });
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'");
    expect(page.text).not.toMatch(/<script[^>]*>\s*[^<\s]/);
  });

  test('keeps what was asked for in pages, and remembers who asked', async () => {
    const operator = as('operator');
    const made = [];
    for (let number = 0; number < 5; number += 1)
      made.push(await operator.createJob({ kind: 'build', image: `registry.example/app:${number}` }));
    const { data: first } = await operator.api.GET('/api/v1/jobs', { params: { query: { limit: 3 } } });
    const { data: second } = await operator.api.GET('/api/v1/jobs', {
      params: { query: { limit: 3, after: first?.next ?? '' } },
    });
    const ids = [...(first?.items ?? []), ...(second?.items ?? [])].map(({ id }) => id);
    expect(ids).toEqual(
      made
        .map(({ id }) => id)
        .sort()
        .reverse(),
    );
    expect(second?.next).toBeNull();
    expect(made[0]).toMatchObject({ createdBy: 'the operator', state: 'waiting' });
    expect(await operator.actOnJob(ids[0] ?? '', 'pause')).toMatchObject({ state: 'paused' });
    expect(await operator.actOnJob(ids[0] ?? '', 'cancel')).toMatchObject({ state: 'cancelled' });
    await expect(operator.actOnJob(ids[0] ?? '', 'resume')).rejects.toMatchObject({
      code: 'busy',
      message: `job ${ids[0]} is cancelled: there is nothing to resume`,
    });
    await expect(operator.removeJob(ids[1] ?? '')).rejects.toMatchObject({ code: 'busy' });
    await operator.removeJob(ids[0] ?? '');
    await expect(operator.job(ids[0] ?? '')).rejects.toMatchObject({ code: 'not_found' });
    const audit = await as('admin').audit(100);
    expect(audit).toContainEqual(
      expect.objectContaining({
        by: 'the operator',
        action: 'POST /api/v1/jobs/:id/cancel',
        target: ids[0],
        status: 200,
      }),
    );
    expect(audit).toContainEqual(
      expect.objectContaining({
        by: 'the operator',
        action: 'DELETE /api/v1/jobs/:id',
        target: ids[1],
        status: 409,
      }),
    );
    expect(audit).toContainEqual(
      expect.objectContaining({ action: 'POST /api/v1/jobs', target: ids[0], status: 201 }),
    );
    const [token] = (await as('admin').tokens()).filter(({ name }) => name === 'the viewer');
    expect(audit).toContainEqual(
      expect.objectContaining({ action: 'POST /api/v1/tokens', target: token?.id }),
    );
  });

  test('says what a webhook’s delivery would have done, and does nothing of it', async () => {
    const images = ['registry.example/team/*'];
    const distribute = { content: 'start', target: {} } as const;
    const admin = as('admin');
    const policies = await Promise.all([
      admin.createPolicy({ name: 'tried', images, distribute }),
      admin.createPolicy({ name: 'not-on-push', images, on: { push: false } }),
      admin.createPolicy({ name: 'off', images, enabled: false }),
      admin.createPolicy({ name: 'of-others', images: ['other.example/**'] }),
    ]);
    const { id } = await admin.createWebhook({ name: 'tried', kind: 'generic' });
    const before = await admin.jobs();
    const tried = await as('operator').tryWebhook(id);
    expect(tried.images.map(({ image }) => image)).toEqual(['registry.example/team/app:1.4']);
    const does = Object.fromEntries(tried.images[0]?.policies.map(({ name, does }) => [name, does]) ?? []);
    expect(does).toEqual({ tried: ['build', 'distribute'], 'not-on-push': [], 'zero-touch': [] });
    const own = await as('operator').tryWebhook(id, { images: ['registry.example/team/b:2', 'no image!'] });
    expect(own.images.map(({ image }) => image)).toEqual(['registry.example/team/b:2']);
    expect(own.example).toBeUndefined();
    await expect(as('operator').tryWebhook(id, { images: 7 })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
    await expect(as('viewer').tryWebhook(id)).rejects.toMatchObject({ code: 'forbidden' });
    const deep = `{"delivery":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
    expect(await call(`/api/v1/webhooks/${id}/try`, { method: 'POST', body: deep })).toMatchObject({
      status: 400,
    });
    expect(await admin.jobs()).toEqual(before);
    expect((await admin.webhooks()).find((hook) => hook.id === id)?.deliveries).toEqual([]);
    for (const policy of policies) await admin.removePolicy(policy.id);
    await admin.removeWebhook(id);
  });

  test('puts off a flood of deliveries, and says so', async () => {
    const { id, path } = await local.createWebhook({ name: 'flooded', kind: 'generic' });
    let asked = 0;
    let refusal: { status: number; headers: Headers } | undefined;
    const flood = async () => {
      while (refusal === undefined && asked < 10_000) {
        asked += 1;
        const answer = await call(path, { method: 'POST', body: '{}', token: 'wrong' });
        if (answer.status === 429) refusal = answer;
      }
    };
    await Promise.all(Array.from({ length: 16 }, flood));
    expect(asked).toBeGreaterThan(6_000);
    expect(Number(refusal?.headers.get('retry-after'))).toBeGreaterThan(0);
    const hook = (await local.webhooks()).find((each) => each.id === id);
    expect(hook?.postponed.count).toBeGreaterThan(0);
    expect(hook?.postponed.detail).toContain('a minute');
    expect(hook?.deliveries).toHaveLength(5);
    expect(await local.deliveries(id)).toHaveLength(200);
    const { metricsUrl } = supernode.status();
    expect(await (await fetch(metricsUrl)).text()).toMatch(
      /webhook_deliveries_total\{kind="generic",outcome="postponed"\} [1-9]/,
    );
    await local.removeWebhook(id);
  }, 60_000);

  test('lists policies in pages', async () => {
    const names = ['a1', 'a2', 'a3'];
    for (const name of names) await local.createPolicy({ name, images: ['a.example/*'] });
    const page = async (after?: string) => {
      const query = { limit: 2, ...(after === undefined ? {} : { after }) };
      return (await local.api.GET('/api/v1/policies', { params: { query } })).data;
    };
    const first = await page();
    const second = await page(first?.next ?? '');
    const listed = [...(first?.items ?? []), ...(second?.items ?? [])];
    expect(listed.map(({ name }) => name)).toEqual([...names, 'zero-touch']);
    expect(second?.next).toBeNull();
    for (const { id, name } of listed) if (names.includes(name)) await local.removePolicy(id);
  });

  test('ends a token within a second of its revocation or its end, also on an open stream', async () => {
    const brief = await local.createToken({ name: 'brief', role: 'viewer', ttlMs: 1_000 });
    const revoked = await local.createToken({ name: 'revoked', role: 'viewer' });
    const streams = [brief, revoked].map(({ text }) => openEvents(text));
    await Promise.all(streams.map(({ opened }) => opened));
    await local.revokeToken(revoked.id);
    const revokedAtMs = performance.now();
    expect(await call('/api/v1/status', { token: revoked.text })).toMatchObject({ status: 401 });
    await streams[1]?.ended;
    // Measured by the test alone to say which comes first.
    expect(performance.now() - revokedAtMs).toBeLessThan(60_000);
    await streams[0]?.ended;
    expect(await call('/api/v1/status', { token: brief.text })).toMatchObject({ status: 401 });
  });

  test('shows nobody who may only look what is behind the question mark of a URL', async () => {
    const watched = openEvents(tokens.viewer);
    await watched.opened;
    const file = 'https://files.example/model';
    const { id } = await local.createJob({ kind: 'get', url: `${file}?key=secret` });
    expect(await as('operator').job(id)).toMatchObject({ spec: { url: `${file}?key=secret` } });
    const shown = { spec: { url: `${file}?…` } };
    expect(await as('viewer').job(id)).toMatchObject(shown);
    expect((await call('/api/v1/jobs', { token: tokens.viewer })).text).not.toContain('secret');
    await expect.poll(() => watched.events.at(-1)?.data).toMatchObject({ id, ...shown });
    watched.close();
  });

  test('tells who comes back what happened meanwhile', async () => {
    const first = openEvents(tokens.viewer);
    await first.opened;
    expect(first.events).toMatchObject([{ topic: 'reset' }]);
    const job = await local.createJob({ kind: 'build', image: 'registry.example/events:1' });
    await local.actOnJob(job.id, 'pause');
    await expect.poll(() => first.events.at(-1)?.data).toMatchObject({ id: job.id, state: 'paused' });
    const seen = first.events.length;
    const last = first.events.at(-1)?.id;
    first.close();
    await local.actOnJob(job.id, 'cancel');
    const second = openEvents(tokens.viewer, last);
    await second.opened;
    await expect.poll(() => second.events.at(-1)?.data).toMatchObject({ id: job.id, state: 'cancelled' });
    expect(seen).toBeGreaterThan(1);
    second.close();
    const stranger = openEvents(tokens.viewer, 'ffffffff-7');
    await expect.poll(() => stranger.events).toMatchObject([{ topic: 'reset' }]);
    stranger.close();
  });
});

test('whoever has no token may look where the configuration says so, and not change anything', async () => {
  const { supernode: open } = await start({ anonymousViewers: true });
  const { apiUrl } = open.status();
  expect((await fetch(`${apiUrl}/api/v1/hosts`)).status).toBe(200);
  expect((await fetch(`${apiUrl}/api/v1/join-token`)).status).toBe(403);
  const job = { method: 'POST', body: JSON.stringify(JOB), headers: { 'content-type': 'application/json' } };
  expect((await fetch(`${apiUrl}/api/v1/jobs`, job)).status).toBe(403);
});

test('who asks too much is told when to come back', async () => {
  const { supernode: strict } = await start({ anonymousViewers: true, requestsPerMinute: 5 });
  const { apiUrl } = strict.status();
  const answers = [];
  for (let number = 0; number < 7; number += 1) answers.push(await fetch(`${apiUrl}/api/v1/status`));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 429, 429]);
  expect(Number(answers.at(-1)?.headers.get('retry-after'))).toBeGreaterThan(0);
});

test('with a certificate of its own it is known by its key, and by no other', async () => {
  const { supernode: secure, local: root } = await start({ tls: 'own' });
  const { apiUrl, apiPin } = secure.status();
  expect(apiUrl).toMatch(/^https:/);
  const { text: token } = await root.createToken({ name: 'remote', role: 'admin' });
  const pinned = new SupernodeClient({ url: apiUrl, token, pin: apiPin ?? '' });
  expect((await pinned.status()).peer).toBe(secure.status().peer);
  expect((await pinned.createJob({ kind: 'build', image: 'registry.example/tls:1' })).state).toBe('waiting');
  const wrong = new SupernodeClient({ url: apiUrl, token, pin: `sha256:${'0'.repeat(64)}` });
  await expect(wrong.status()).rejects.toMatchObject({ code: 'forbidden' });
  await expect(new SupernodeClient({ url: apiUrl, token }).status()).rejects.toMatchObject({
    code: 'unavailable',
  });
});

interface Heard {
  readonly id: string | undefined;
  readonly topic: string;
  readonly data: unknown;
}

function openEvents(token: string, last?: string) {
  const events: Heard[] = [];
  const opened = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const outgoing = httpRequest(`${url}/api/v1/events?topics=job`, {
    headers: { authorization: `Bearer ${token}`, ...(last === undefined ? {} : { 'last-event-id': last }) },
  });
  outgoing.end();
  outgoing.once('error', () => ended.resolve());
  outgoing.once('response', async (incoming) => {
    if (incoming.statusCode === 200) void delay(0).then(() => opened.resolve());
    let rest = '';
    incoming.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n\n');
      rest = parts.pop() ?? '';
      for (const part of parts) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(part)?.[1];
        const topic = field('event');
        if (topic !== undefined)
          events.push({ id: field('id'), topic, data: JSON.parse(field('data') ?? '') });
      }
    });
    incoming.once('close', () => ended.resolve());
  });
  return { events, opened: opened.promise, ended: ended.promise, close: () => outgoing.destroy() };
}
