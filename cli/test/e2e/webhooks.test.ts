import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type JobDocument, SupernodeClient } from '@drakkar/client';
import { noise, pushImage, type Registry, startRegistry, temporaryDirectory } from '@drakkar/lab';
import type { Supernode } from '@drakkar/supernode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memberOf, startSupernodeIn } from '../kit/cluster.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const SOON = { timeout: 60_000, interval: 50 };
const DELIVERIES = 50;

describe.skipIf(!isRoot)('a registry that tells of its pushes (needs root)', () => {
  const running = new AsyncDisposableStack();
  let registry: Registry;
  let supernode: Supernode;
  let client: SupernodeClient;
  let hookUrl: string;
  let secret: string;
  let host: Host;
  let config: string;

  beforeAll(async () => {
    const { path } = running.use(await temporaryDirectory('webhooks'));
    supernode = running.use(await startSupernodeIn(join(path, 'supernode')));
    client = new SupernodeClient({ socketPath: join(path, 'supernode', 'admin.sock') });
    host = running.use(await startHost(memberOf(supernode, 'builder')));
    config = join(path, 'supernode.json');
    await writeFile(config, JSON.stringify({ stateDirectory: join(path, 'supernode') }));
    const hook = await client.createWebhook({ name: 'lab', kind: 'distribution' });
    secret = hook.secret;
    hookUrl = supernode.status().apiUrl + hook.path;
    const notifies = { url: hookUrl, headers: { Authorization: `Bearer ${secret}` } };
    registry = running.use(await startRegistry({ notifies }));
    const signal = AbortSignal.timeout(SOON.timeout);
    while ((await client.status()).hosts < 1) await delay(SOON.interval, undefined, { signal });
  });
  afterAll(() => running[Symbol.asyncDispose]());

  const push = (repository: string, words = '') =>
    pushImage(registry.url, shellImage({}, [{ name: 'data', data: noise(100_000, repository + words) }]), {
      repository,
      tag: 'latest',
    });
  const jobsOf = async (repository: string): Promise<JobDocument[]> =>
    (await client.jobs()).filter(({ spec }) => 'image' in spec && spec.image?.includes(`/${repository}:`));

  test('has snapshots built of what its policies are for, and of nothing else', async () => {
    await client.createPolicy({ name: 'apps', images: [`${registry.host}/apps/**`] });
    await push('other/one');
    await push('apps/one');
    const ended = async () => (await jobsOf('apps/one')).map(({ state }) => state);
    await expect.poll(ended, SOON).toEqual(['succeeded']);
    const [job] = await jobsOf('apps/one');
    expect(job).toMatchObject({
      spec: { kind: 'build' },
      snapshot: { found: 'built' },
      createdBy: 'policy apps',
    });
    expect(await jobsOf('other/one')).toEqual([]);
    await push('apps/one', 'a new version');
    await expect.poll(ended, SOON).toEqual(['succeeded', 'succeeded']);
    const hooks = await client.webhooks();
    const deliveries = await client.deliveries(hooks[0]?.id ?? '');
    expect(deliveries.map(({ outcome }) => outcome)).toContain('taken');
    expect(JSON.stringify(hooks)).not.toContain(secret);
    const matches = await client.dryRunPolicy({ images: ['**/apps/*'] });
    expect(matches.map(({ image }) => image)).toEqual([`${registry.host}/apps/one:latest`]);
  });

  test('has one build of what it tells many times, in whatever order', async () => {
    await client.createPolicy({ name: 'often', images: [`${registry.host}/often/*`], atOnce: 50 });
    const quiet = running.use(await startRegistry());
    await pushImage(quiet.url, shellImage({}, [{ name: 'data', data: noise(100_000, 'often') }]), {
      repository: 'often/app',
      tag: '1',
    });
    await client.createPolicy({ name: 'quiet', images: [`${quiet.host}/often/*`], atOnce: 50 });
    const hook = await client.createWebhook({ name: 'quiet', kind: 'distribution', registry: quiet.host });
    const deliver = (number: number) =>
      fetch(supernode.status().apiUrl + hook.path, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${hook.secret}`,
          'content-type': 'application/vnd.docker.distribution.events.v1+json',
        },
        body: JSON.stringify({
          events: [
            {
              // Half of them are the same once more.
              id: `event-${number % (DELIVERIES / 2)}`,
              action: 'push',
              target: {
                mediaType: 'application/vnd.oci.image.manifest.v1+json',
                repository: 'often/app',
                tag: '1',
              },
              request: { host: 'another.name' },
            },
          ],
        }),
      });
    const answers = await Promise.all(
      Array.from({ length: DELIVERIES }, (_, number) => deliver(DELIVERIES - number)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const jobs = async () => await jobsOf('often/app');
    await expect
      .poll(async () => (await jobs()).every(({ state }) => state === 'succeeded'), SOON)
      .toBe(true);
    const built = (await jobs()).filter(({ snapshot }) => snapshot?.found === 'built');
    expect(built).toHaveLength(1);
  });

  test('and its policies are looked after from the command line', async () => {
    const drakkar = (...args: string[]) => host.drakkar(...args, '--config', config);
    const made = await drakkar(
      'policy',
      'create',
      'mine',
      '**/mine/*',
      '--refresh',
      '1d',
      '--distribute',
      'start',
      '--role',
      'seed',
    );
    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining('start to hosts') });
    expect((await drakkar('policy', 'ls'))?.stdout).toMatch(
      /mine +\*\*\/mine\/\* +push, first pull, every 1 d/,
    );
    expect((await drakkar('policy', 'ls'))?.stdout).toContain('zero-touch');
    expect((await drakkar('policy', 'create', 'x', '**/apps/*', '--dry-run'))?.stdout).toContain(
      'apps/one:latest',
    );
    expect(await drakkar('policy', 'create', 'x', '{a')).toMatchObject({ code: 2 });
    expect(await drakkar('policy', 'rm', 'mine')).toMatchObject({ code: 0 });
    expect(await drakkar('policy', 'rm', 'mine')).toMatchObject({ code: 3 });
    const hook = await drakkar('webhook', 'create', 'hub', '--kind', 'docker-hub');
    expect(hook?.stdout).toMatch(/url +http.*\/deliveries\nsecret +\S{43}\n.*password/);
    expect((await drakkar('webhook', 'ls'))?.stdout).toMatch(/hub +docker-hub +nothing yet/);
    expect((await drakkar('webhook', 'try', 'hub'))?.stdout).toMatch(
      /^docker.io\/team\/app:1.4\n {2}zero-touch: nothing when it is pushed/,
    );
    expect(await drakkar('webhook', 'try', 'none')).toMatchObject({ code: 3 });
    expect(await drakkar('webhook', 'rm', 'hub')).toMatchObject({ code: 0 });
  });

  test('is believed by its secret alone, and told what it says wrong', async () => {
    const send = (headers: Record<string, string>, body: string) =>
      fetch(hookUrl, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body });
    const good = { authorization: `Bearer ${secret}` };
    expect((await send({}, '{"events":[]}')).status).toBe(401);
    expect((await send({ authorization: 'Bearer wrong' }, '{"events":[]}')).status).toBe(401);
    expect((await send(good, '{"events":[]}')).status).toBe(200);
    expect((await send(good, '{')).status).toBe(400);
    expect((await send(good, '{"events":7}')).status).toBe(400);
    expect((await send(good, `{"events":[${' '.repeat(600_000)}]}`)).status).toBe(413);
    expect(
      (await fetch(`${supernode.status().apiUrl}/api/v1/webhooks/none/deliveries`, { method: 'POST' }))
        .status,
    ).toBe(400);
  });
});
