import type { ControlPlane } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { API_VERSION, GROUP, KINDS } from '../../src/index.ts';
import { startOurPlane } from '../kit.ts';

const PATHS = { ImageSnapshot: 'imagesnapshots', SnapshotPolicy: 'snapshotpolicies' };
const APPLY = 'application/apply-patch+yaml';

type Name = keyof typeof PATHS;
interface Resource {
  readonly spec: Record<string, unknown>;
  readonly status?: Record<string, unknown>;
}

const running = new AsyncDisposableStack();
let plane: ControlPlane;
beforeAll(async () => {
  plane = running.use(await startOurPlane());
});
afterAll(() => running[Symbol.asyncDispose]());

const pathOf = (kind: Name, name: string) => `/apis/${API_VERSION}/${PATHS[kind]}/${name}`;

/** @returns what is kept of it, or why not */
async function apply(kind: Name, spec: unknown, name = 'tried'): Promise<{ kept?: Resource; why?: string }> {
  const body = { apiVersion: API_VERSION, kind, metadata: { name }, spec };
  const answer = await plane.ask('PATCH', `${pathOf(kind, name)}?fieldManager=test&force=true`, body, APPLY);
  if (answer.status < 300) return { kept: answer.body as Resource };
  return { why: (answer.body as { message: string }).message };
}

/** @returns why it is refused */
async function refused(kind: Name, spec: unknown): Promise<string | undefined> {
  const body = { apiVersion: API_VERSION, kind, metadata: { name: 'refused' }, spec };
  const answer = await plane.ask('POST', `/apis/${API_VERSION}/${PATHS[kind]}?dryRun=All`, body);
  return answer.status < 300 ? undefined : (answer.body as { message: string }).message;
}

describe('what the API server is told of our resources', () => {
  test('is structural, and taken without a warning', async () => {
    for (const { plural } of KINDS) {
      const { body } = await plane.ask(
        'GET',
        `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${plural}.${GROUP}`,
      );
      const { conditions } = (body as { status: { conditions: { type: string; status: string }[] } }).status;
      expect(conditions.filter(({ type }) => type === 'NonStructuralSchema')).toEqual([]);
      expect(conditions).toContainEqual(expect.objectContaining({ type: 'NamesAccepted', status: 'True' }));
    }
  });

  test('has it fill in what was not said', async () => {
    expect((await apply('ImageSnapshot', { images: ['debian'] })).kept?.spec).toEqual({
      images: ['debian'],
      distribution: { scope: 'Nodes', parallelism: '10%' },
      retention: { previous: '1h' },
      suspend: false,
    });
    expect((await apply('SnapshotPolicy', { images: ['**'] })).kept?.spec).toEqual({
      images: ['**'],
      ...{ triggers: { push: true, firstPull: true }, atOnce: 2, minSizeBytes: 0, suspend: false },
      distribution: { scope: 'Nodes', parallelism: '10%' },
    });
  });

  test('drops what is unknown of a spec, and keeps it of a status', async () => {
    const { kept } = await apply('ImageSnapshot', { images: ['debian'] }, 'kept');
    expect(kept?.spec).not.toHaveProperty('later');
    const status = { observedGeneration: 1, later: { version: 2 } };
    const body = { apiVersion: API_VERSION, kind: 'ImageSnapshot', metadata: { name: 'kept' }, status };
    const path = `${pathOf('ImageSnapshot', 'kept')}/status?fieldManager=test`;
    expect((await plane.ask('PATCH', path, body, APPLY)).body).toMatchObject({ status });
  });

  test.each([
    { images: ['debian', 'registry.example:5000/team/app:1.2', `quay.io/a/b@sha256:${'a'.repeat(64)}`] },
    { images: ['localhost/a', 'Registry.example/a__b/c-d', '[::1]:5000/a', 'a.b/c--d:V1_2.3-x', 'a/b/c'] },
    { images: ['a'], platforms: ['linux/amd64', 'linux/arm/v7'] },
    { images: ['a'], pullSecrets: [{ namespace: 'team', name: 'registry' }] },
    { images: ['a'], refresh: { interval: '90s' }, retention: { previous: '0s' } },
    { images: ['a'], refresh: { cron: '*/10 2-4 * * 1' } },
    { images: ['a'], refresh: { cron: '0,30 03 1-7/2,L JAN-mar,12 Mon-FRI,0' } },
    { images: ['a'], distribution: { scope: 'Nodes', nodeSelector: { gpu: 'yes' }, parallelism: 7 } },
    { images: ['a'], distribution: { scope: 'None' }, suspend: true },
    { images: ['a'], distribution: { percentage: 100, parallelism: '100%' } },
  ])('takes the ImageSnapshot %j', async (spec) => {
    expect(await apply('ImageSnapshot', spec)).toMatchObject({ kept: { spec } });
  });

  test.each([
    [{}, 'spec.images: Required value'],
    [{ images: [] }, 'should have at least 1 items'],
    [{ images: ['a', 'a'] }, 'Duplicate value: "a"'],
    [{ images: [''] }, 'should be at least 1 chars long'],
    [{ images: ['a b'] }, 'is no image reference; write it as [REGISTRY/]REPOSITORY[:TAG][@sha256:…]'],
    [{ images: ['<script>'] }, 'is no image reference'],
    [{ images: ['a@sha256:12'] }, 'is no image reference'],
    [{ images: ['good', 'Foo/BAR'] }, 'is no image reference'],
    [{ images: ['https://ghcr.io/a/b:1'] }, 'is no image reference'],
    [{ images: ['a//b/'] }, 'is no image reference'],
    [{ images: ['a/b/'] }, 'is no image reference'],
    [{ images: ['/a'] }, 'is no image reference'],
    [{ images: ['alpine:::'] }, 'is no image reference'],
    [{ images: ['alpine:'] }, 'is no image reference'],
    [{ images: [' alpine'] }, 'is no image reference'],
    [{ images: ['alpine\n'] }, 'is no image reference'],
    [{ images: ['a..b/c'] }, 'is no image reference'],
    [{ images: ['a'.repeat(513)] }, 'may not be more than 512'],
    [{ images: Array.from({ length: 101 }, (_, index) => `a:${index}`) }, 'must have at most 100 items'],
    [{ images: 'a' }, 'must be of type array'],
    [
      {
        images: Array.from({ length: 61 }, (_, index) => `a:${index}`),
        platforms: Array.from({ length: 5 }, (_, index) => `linux/a${index}`),
      },
      'images times platforms are more than 300; write them as several',
    ],
    [{ images: ['a'], platforms: [] }, 'should have at least 1 items'],
    [{ images: ['a'], platforms: ['windows'] }, 'is no platform; write it as linux/amd64'],
    [{ images: ['a'], pullSecrets: [{ name: 'x' }] }, 'namespace'],
    [{ images: ['a'], pullSecrets: [{ namespace: '../x', name: 'x' }] }, 'should match'],
    [{ images: ['a'], refresh: {} }, 'name an interval, or a cron schedule'],
    [
      { images: ['a'], refresh: { interval: '1h', cron: '0 3 * * *' } },
      'name an interval, or a cron schedule',
    ],
    [
      { images: ['a'], refresh: { interval: '1s' } },
      'is not between 1m and 720h; write it as 90s, 10m or 24h',
    ],
    [{ images: ['a'], refresh: { interval: '-1h' } }, 'should match'],
    [{ images: ['a'], refresh: { interval: 'soon' } }, 'should match'],
    [{ images: ['a'], refresh: { cron: '' } }, 'write it as 0 3 * * *'],
    [{ images: ['a'], refresh: { cron: '0 3 * *  ' } }, 'write it as 0 3 * * *'],
    [
      { images: ['a'], refresh: { cron: '@daily' } },
      'is no schedule of minute, hour, day of the month, month',
    ],
    [{ images: ['a'], refresh: { cron: 'x y z a b' } }, 'is no schedule of minute, hour'],
    [{ images: ['a'], refresh: { cron: '99 99 99 99 99' } }, 'is no schedule of minute, hour'],
    [{ images: ['a'], refresh: { cron: '0 24 * * *' } }, 'is no schedule of minute, hour'],
    [{ images: ['a'], refresh: { cron: '0 3 0 * *' } }, 'is no schedule of minute, hour'],
    [{ images: ['a'], retention: { previous: '9000h' } }, 'is not between 0s and 8760h'],
    [{ images: ['a'], distribution: { scope: 'Everywhere' } }, 'supported values: "None", "Seeds", "Nodes"'],
    [
      { images: ['a'], distribution: { scope: 'Seeds', nodeSelector: { a: 'b' } } },
      'a nodeSelector is for the scope Nodes',
    ],
    [{ images: ['a'], distribution: { parallelism: 0 } }, 'is neither a number of nodes nor a percentage'],
    [
      { images: ['a'], distribution: { parallelism: '101%' } },
      'is neither a number of nodes nor a percentage',
    ],
    [{ images: ['a'], distribution: { percentage: 101 } }, 'should be less than or equal to 100'],
    [{ images: ['a'], distribution: { percentage: -1 } }, 'should be greater than or equal to 1'],
    [{ images: ['a'], suspend: 'yes' }, 'must be of type boolean'],
  ])('refuses the ImageSnapshot %j and says why', async (spec, why) => {
    expect(await refused('ImageSnapshot', spec)).toContain(why);
  });

  test.each([
    {
      images: ['registry.example/team/*', '**/{a,b}:v*', '{a,b-{c,d}}/e'],
      atOnce: 5,
      minSizeBytes: 1_000_000,
    },
    { images: ['**'], fromPods: { namespaces: ['a', 'b'], serviceAccountPullSecrets: true } },
    { images: ['**'], fromPods: { namespaceSelector: { team: 'a' } } },
    {
      images: ['**'],
      refresh: { interval: '10m' },
      retention: { unused: '720h' },
      triggers: { push: false, firstPull: true },
    },
  ])('takes the SnapshotPolicy %j', async (spec) => {
    expect(await apply('SnapshotPolicy', spec)).toMatchObject({ kept: { spec } });
  });

  test.each([
    [{ images: [] }, 'should have at least 1 items'],
    [{ images: ['a b'] }, 'is no pattern of images'],
    [{ images: ['{a,b'] }, 'has a brace without its other'],
    [{ images: ['a,b}'] }, 'has a brace without its other'],
    [{ images: ['{a,{b,{c,d}}}'] }, 'braces more than two deep'],
    [{ images: ['**'], atOnce: 0 }, 'should be greater than or equal to 1'],
    [{ images: ['**'], minSizeBytes: -1 }, 'should be greater than or equal to 0'],
    [{ images: ['**'], refresh: {} }, 'refresh.interval: Required value'],
    [{ images: ['**'], retention: { unused: '1m' } }, 'is not between 1h and 87600h'],
    [{ images: ['**'], fromPods: { namespaces: ['No Such'] } }, 'should match'],
    [{ images: ['**'], fromPods: { namespaces: [] } }, 'should have at least 1 items'],
    [
      { images: ['**'], fromPods: { namespaces: ['a'], namespaceSelector: { a: 'b' } } },
      'name namespaces, or a selector of them',
    ],
  ])('refuses the SnapshotPolicy %j and says why', async (spec, why) => {
    expect(await refused('SnapshotPolicy', spec)).toContain(why);
  });

  test('refuses one of a megabyte, and goes on', async () => {
    const entries = Array.from({ length: 14_000 }, (_, index) => [`label-${index}`, 'x'.repeat(60)]);
    const spec = { images: ['a'], distribution: { nodeSelector: Object.fromEntries(entries) } };
    expect(JSON.stringify(spec).length).toBeGreaterThan(1_000_000);
    expect(await refused('ImageSnapshot', spec)).toContain('must have at most 64 items');
    expect(await refused('ImageSnapshot', { images: ['a'] })).toBeUndefined();
  });

  test('refuses a status with what is no digest', async () => {
    await apply('ImageSnapshot', { images: ['debian'] }, 'spoilt');
    const images = [{ image: 'debian', platform: 'linux/amd64', phase: 'Ready', digest: 'nope' }];
    const path = `${pathOf('ImageSnapshot', 'spoilt')}/status`;
    const { body } = await plane.ask('PATCH', path, { status: { images } }, 'application/merge-patch+json');
    expect((body as { message: string }).message).toContain('status.images[0].digest');
  });

  test('has kubectl show what people want to know', async () => {
    await apply('ImageSnapshot', { images: ['debian'] }, 'shown');
    const status = {
      ...{ ready: '1/1', nodes: { desired: 3, ready: 2 } },
      conditions: ['Ready', 'Resolved', 'Built', 'Distributed'].map((type) => ({
        ...{
          type,
          status: type === 'Built' ? 'True' : 'False',
          reason: 'Distributing',
          message: 'one is not there yet',
        },
        lastTransitionTime: '2026-03-01T12:00:00Z',
      })),
    };
    const body = { apiVersion: API_VERSION, kind: 'ImageSnapshot', metadata: { name: 'shown' }, status };
    await plane.ask('PATCH', `${pathOf('ImageSnapshot', 'shown')}/status?fieldManager=test`, body, APPLY);
    const table = (await plane.kubectl(['get', 'isnap', 'shown', '--output=wide'])).split('\n');
    expect(table[0]?.split(/ {2,}/)).toMatchObject(
      'NAME READY IMAGES NODES DESIRED RESOLVED BUILT DISTRIBUTED REASON AGE'.split(' '),
    );
    expect(table[1]).toMatch(/^shown +False +1\/1 +2 +3 +False +True +False +Distributing +/);
    expect(await plane.kubectl(['get', 'drakkar'])).toContain('imagesnapshot.drakkar.dev/shown');
    expect(await plane.kubectl(['explain', 'imagesnapshot.spec.refresh'])).toContain(
      'When tags are looked at again',
    );
  });
});
