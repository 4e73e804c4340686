import {
  formatReference,
  isDigest,
  isDrakkarError,
  isTag,
  MEDIA_TYPES,
  parseReference,
} from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DeliveryHeaders,
  deliveryIdOf,
  HOOK_KINDS,
  type HookKind,
  MAX_EVENTS,
  type Pushed,
  readDelivery,
} from '../../../src/webhooks/index.ts';
import {
  aliyunPush,
  azurePush,
  DIGEST,
  distributionEvent,
  dockerHubPush,
  githubEvent,
  githubPackage,
  gridCloudEvent,
  gridEvent,
  gridValidation,
  harborCloudEvent,
  harborEvent,
  OTHER,
  pushed,
  SAMPLES,
} from './samples.ts';

const NOBODY = { registry: null };
const read = (kind: HookKind, body: unknown, registry: string | null = null, headers: DeliveryHeaders = {}) =>
  readDelivery(kind, body, headers, { registry }).pushed;

const INVALID = expect.objectContaining({ code: 'invalid_argument' });

describe('what a registry of the CNCF tells', () => {
  const from = (...events: unknown[]) => read('distribution', { events });

  test('is the manifests that were pushed', () => {
    const index = { mediaType: MEDIA_TYPES.ociIndex, digest: OTHER, tag: 'latest' };
    expect(from(distributionEvent({}), distributionEvent(index))).toEqual([
      pushed('registry.example.com', 'team/app', '1.4'),
      pushed('registry.example.com', 'team/app', 'latest', OTHER),
    ]);
  });

  test('counts without a tag, too: the manifests of an index have none', () => {
    expect(from(distributionEvent({ tag: undefined }))).toEqual([
      pushed('registry.example.com', 'team/app', null),
    ]);
  });

  test.each([
    ['a pull', distributionEvent({}, { action: 'pull' })],
    ['a deletion', distributionEvent({}, { action: 'delete' })],
    ['a blob', distributionEvent({ mediaType: 'application/octet-stream', tag: undefined })],
    [
      'a blob that another repository had',
      distributionEvent({ mediaType: MEDIA_TYPES.ociLayerGzip }, { action: 'mount' }),
    ],
    [
      'a blob of no media type',
      distributionEvent({ mediaType: '', url: `http://r.example/v2/a/blobs/${DIGEST}` }),
    ],
    ['a repository that cannot be', distributionEvent({ repository: '../secret' })],
    ['a repository with a tag in it', distributionEvent({ repository: 'team/app:2' })],
    ['neither a tag nor a digest', distributionEvent({ tag: 'not a tag', digest: 'sha256:1' })],
    ['a tag without end', distributionEvent({ tag: 'a'.repeat(100_000) })],
    ['nothing of it', 'text'],
  ])('is not %s, which is no reason to lose the others', (_, event) => {
    expect(from(event, distributionEvent({}))).toEqual([pushed('registry.example.com', 'team/app', '1.4')]);
    expect(from(event)).toEqual([]);
  });

  test('is of the registry that the hook names, or that was asked, or that the manifest’s URL has', () => {
    const behindProxy = distributionEvent({}, { request: { host: 'registry-0.internal:5000' } });
    expect(read('distribution', { events: [behindProxy] }, 'registry.example.com')).toEqual([
      pushed('registry.example.com', 'team/app', '1.4'),
    ]);
    expect(from(behindProxy)).toEqual([pushed('registry-0.internal:5000', 'team/app', '1.4')]);
    expect(from(distributionEvent({}, { request: undefined }))).toEqual([
      pushed('registry.example.com', 'team/app', '1.4'),
    ]);
    expect(from(distributionEvent({}, { request: { host: 'Registry.Example.Com' } }))).toEqual([
      pushed('registry.example.com', 'team/app', '1.4'),
    ]);
  });

  test('is nothing from a host that no reference can name', () => {
    expect(from(distributionEvent({}, { request: { host: 'registry' } }))).toEqual([]);
    expect(from(distributionEvent({ repository: 'debian' }, { request: { host: 'library' } }))).toEqual([]);
  });

  test(`is refused beyond ${MAX_EVENTS} events`, () => {
    const events = Array.from({ length: MAX_EVENTS + 1 }, () => distributionEvent({}));
    expect(() => from(...events)).toThrow(INVALID);
    expect(from(...events.slice(1))).toHaveLength(1);
  });
});

describe('what Harbor tells', () => {
  test.each([
    ['in its own form', harborEvent],
    ['as CloudEvents', harborCloudEvent],
  ])('is the artifacts that were pushed, %s', (_, event) => {
    expect(read('harbor', event())).toEqual([pushed('harbor.example.com', 'team/app', '1.4')]);
    expect(read('harbor', event(), 'images.example.com')).toEqual([
      pushed('images.example.com', 'team/app', '1.4'),
    ]);
  });

  test('has a digest for the tag of what has none', () => {
    const resources = [
      { digest: DIGEST, tag: DIGEST, resource_url: `harbor.example.com:8443/team/app@${DIGEST}` },
    ];
    const body = harborEvent(undefined, { resources, repository: { repo_full_name: 'team/app' } });
    expect(read('harbor', body)).toEqual([pushed('harbor.example.com:8443', 'team/app', null)]);
  });

  test('may be another thing', () => {
    expect(read('harbor', harborEvent('PULL_ARTIFACT'))).toEqual([]);
    expect(read('harbor', harborCloudEvent('harbor.scan.completed', { scan: {} }))).toEqual([]);
    expect(read('harbor', harborEvent('QUOTA_EXCEED', { custom_attributes: {} }))).toEqual([]);
  });
});

describe('what Docker Hub tells', () => {
  test.each([
    ['team/app', 'team/app'],
    ['library/debian', 'library/debian'],
    ['debian', 'library/debian'],
  ])('is a tag of %s', (name, repository) => {
    expect(read('docker-hub', dockerHubPush(name))).toEqual([pushed('docker.io', repository, '1.4', null)]);
  });

  test('is nothing without a tag', () => {
    expect(read('docker-hub', { ...dockerHubPush('team/app'), push_data: { images: [] } })).toEqual([]);
  });
});

describe('what GitHub tells', () => {
  const headers = (event: string) => ({ 'x-github-event': event });

  test.each([
    ['registry_package', githubEvent()],
    ['package', { action: 'published', package: githubPackage() }],
    ['package', githubEvent(githubPackage({ package_type: 'container', registry: null }))],
  ])('is a container, by the event %s', (event, body) => {
    expect(read('ghcr', body, null, headers(event))).toEqual([pushed('ghcr.io', 'team/app', '1.4')]);
    expect(read('ghcr', body)).toEqual([pushed('ghcr.io', 'team/app', '1.4')]);
    expect(read('ghcr', body, 'containers.github.example')).toEqual([
      pushed('containers.github.example', 'team/app', '1.4'),
    ]);
  });

  test('has an empty tag, or none, where only a digest was pushed', () => {
    const untagged = [pushed('ghcr.io', 'team/app', null)];
    expect(read('ghcr', githubEvent(githubPackage({}, { name: '', digest: 'sha256:1' })))).toEqual(untagged);
    expect(read('ghcr', githubEvent(githubPackage({}, null)))).toEqual(untagged);
  });

  test('has packages within packages', () => {
    expect(read('ghcr', githubEvent(githubPackage({ name: 'app/api' })))).toEqual([
      pushed('ghcr.io', 'team/app/api', '1.4'),
    ]);
  });

  test.each([
    ['an attempt of the hook', { zen: 'Keep it logically awesome.', hook_id: 1 }, 'ping'],
    ['a push of source', { ref: 'refs/heads/main' }, 'push'],
    ['another action', { ...githubEvent(), action: 'updated' }, 'package'],
    [
      'another kind of package',
      githubEvent(githubPackage({ package_type: 'npm', registry: null })),
      'package',
    ],
  ])('may be %s', (_, body, event) => {
    expect(read('ghcr', body, null, headers(event))).toEqual([]);
  });
});

describe('what an Azure registry tells', () => {
  test.each([
    ['by itself', azurePush()],
    ['through Event Grid', [gridEvent()]],
    ['through Event Grid as a CloudEvent', gridCloudEvent()],
    ['through Event Grid as CloudEvents', [gridCloudEvent()]],
  ])('is what was pushed, %s', (_, body) => {
    expect(readDelivery('acr-azure', body, {}, NOBODY)).toEqual({
      pushed: [pushed('team.azurecr.io', 'team/app', '1.4')],
    });
  });

  test.each([
    ['an attempt of the hook', { id: '1', timestamp: '2026-03-01T10:00:00Z', action: 'ping' }],
    ['a deletion', azurePush({}, { action: 'delete' })],
    ['a chart', azurePush({}, { action: 'chart_push' })],
    ['a deletion through Event Grid', [gridEvent(azurePush(), 'Microsoft.ContainerRegistry.ImageDeleted')]],
  ])('may be %s', (_, body) => {
    expect(read('acr-azure', body)).toEqual([]);
  });

  test('asks for an answer before anything else', () => {
    expect(readDelivery('acr-azure', [gridValidation], {}, NOBODY)).toEqual({
      pushed: [],
      answer: { validationResponse: '512d38b6-c7b8-40c8-89fe-f46f9e9622b0' },
    });
  });
});

describe('what an Alibaba Cloud registry tells', () => {
  test.each([
    ['the whole name', aliyunPush()],
    ['its parts', aliyunPush({ repo_full_name: null })],
  ])('is what was pushed, by %s', (_, body) => {
    expect(read('acr-aliyun', body)).toEqual([
      pushed('registry.cn-hangzhou.aliyuncs.com', 'team/app', '1.4'),
    ]);
    expect(read('acr-aliyun', body, 'team-registry.cn-hangzhou.cr.aliyuncs.com')).toEqual([
      pushed('team-registry.cn-hangzhou.cr.aliyuncs.com', 'team/app', '1.4'),
    ]);
  });

  test.each(['', 'evil.example/x', undefined])('is nothing from the region %j', (region) => {
    expect(read('acr-aliyun', aliyunPush({ region }))).toEqual([]);
  });
});

describe('what a script tells', () => {
  test.each<[string, Pushed]>([
    ['ghcr.io/team/app:1.4', pushed('ghcr.io', 'team/app', '1.4', null)],
    ['debian', pushed('docker.io', 'library/debian', 'latest', null)],
    [`index.docker.io/team/app@${DIGEST}`, pushed('docker.io', 'team/app', null)],
    ['localhost:5000/app:1', pushed('localhost:5000', 'app', '1', null)],
  ])('is %s', (image, push) => {
    expect(read('generic', { images: [image, 'NOT AN IMAGE', 7] })).toEqual([push]);
  });

  test.each<[object, string | null, Pushed[]]>([
    [
      { registry: 'ghcr.io', repository: 'a/b', tag: '1', digest: DIGEST },
      null,
      [pushed('ghcr.io', 'a/b', '1')],
    ],
    [
      { registry: 'index.docker.io', repository: 'debian' },
      null,
      [pushed('docker.io', 'library/debian', 'latest', null)],
    ],
    [{ repository: 'a/b', tag: '1' }, 'ghcr.io', [pushed('ghcr.io', 'a/b', '1', null)]],
    [{ repository: 'a/b', tag: '1', digest: null }, null, [pushed('docker.io', 'a/b', '1', null)]],
  ])('is %j of the registry %j', (body, registry, pushes) => {
    expect(read('generic', body, registry)).toEqual(pushes);
  });

  test.each([
    { registry: 'registry', repository: 'a/b', tag: '1' },
    { registry: 'ghcr.io', repository: 'a/b', tag: '' },
    { images: ['<b>'] },
    { images: [{ image: 'a' }] },
    { images: 'a' },
    { image: 'a' },
    [{ image: 'a' }],
  ])('is not %j, and it is said what is expected', (body) => {
    expect(() => read('generic', body)).toThrow(INVALID);
    expect(() => read('generic', body)).toThrow('{"images": ["registry/repository:tag", …]}');
  });

  test('may be of no image at all', () => {
    expect(read('generic', { images: [] })).toEqual([]);
  });
});

describe('a delivery', () => {
  test('has each push once, and not what says less of the same', () => {
    const images = ['a.example/x:1', `a.example/x:1@${DIGEST}`, `a.example/x@${DIGEST}`, 'a.example/x:2'];
    expect(read('generic', { images: [...images, ...images] })).toEqual([
      pushed('a.example', 'x', '1'),
      pushed('a.example', 'x', '2', null),
    ]);
  });

  test('keeps what a tag was before', () => {
    const images = [`a.example/x:1@${DIGEST}`, `a.example/x:1@${OTHER}`];
    expect(read('generic', { images })).toHaveLength(2);
  });

  test.each(
    HOOK_KINDS.flatMap((kind) =>
      [null, 7, 'text', {}, { events: 1, images: 1, type: 1 }].map((body) => [kind, body]),
    ),
  )('from %s is not %j', (kind, body) => {
    expect(() => read(kind as HookKind, body)).toThrow(INVALID);
  });

  test('says in the error what is wrong, and not all of what was sent', () => {
    expect(() => read('harbor', { type: 'PUSH_ARTIFACT', event_data: { resources: {} } })).toThrow(
      /Harbor: event_data\.resources/,
    );
  });
});

/** Anything, and what a kind sends with anything in some place of it. */
const bodies = (kind: HookKind) =>
  fc.oneof(
    fc.jsonValue(),
    fc
      .tuple(
        fc.constantFrom(...SAMPLES[kind]),
        fc.array(fc.nat(), { maxLength: 8 }),
        fc.oneof(fc.jsonValue(), names),
      )
      .map(([sample, path, value]) => replace(structuredClone(sample), path, value)),
  );

const names = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'ab1A.:/@-_[] '), maxLength: 20 }),
  fc.constantFrom(
    'library',
    'docker.io',
    'index.docker.io',
    'a'.repeat(255),
    '__proto__',
    'localhost',
    DIGEST,
  ),
);

/** Puts a value where a path of numbers leads. */
function replace(node: unknown, path: readonly number[], value: unknown): unknown {
  const keys = typeof node === 'object' && node !== null ? Object.keys(node) : [];
  const [first, ...rest] = path;
  const key = first === undefined ? undefined : keys[first % keys.length];
  if (key === undefined) return value;
  const parent = node as Record<string, unknown>;
  parent[key] = replace(parent[key], rest, value);
  return parent;
}

describe.each(HOOK_KINDS)('whatever is sent as %s', (kind) => {
  const context = fc.record({ registry: fc.option(fc.constantFrom('registry.example.com', 'library')) });
  const headers = fc.dictionary(
    fc.constantFrom('x-github-event', 'x-github-delivery', 'idempotency-key', 'authorization'),
    fc.oneof(fc.string(), fc.array(fc.string(), { maxLength: 2 }), fc.constantFrom('package')),
  );

  test('is refused, or names what can be fetched', () => {
    fc.assert(
      fc.property(bodies(kind), headers, context, (body, headers, context) => {
        let pushes: readonly Pushed[];
        try {
          pushes = readDelivery(kind, body, headers, context).pushed;
        } catch (error) {
          if (!isDrakkarError(error, 'invalid_argument')) throw error;
          expect(error.message.length).toBeLessThan(600);
          return;
        }
        expect(pushes.length).toBeLessThanOrEqual(MAX_EVENTS);
        for (const { registry, repository, tag, digest } of pushes) {
          expect(tag ?? digest).not.toBeNull();
          expect(tag === null || isTag(tag)).toBe(true);
          expect(digest === null || isDigest(digest)).toBe(true);
          const reference = { registry, repository, tag: tag ?? undefined, digest: digest ?? undefined };
          expect(parseReference(formatReference(reference))).toEqual(reference);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('has an id that fits a key, or none', () => {
    fc.assert(
      fc.property(bodies(kind), headers, (body, headers) => {
        const id = deliveryIdOf(kind, body, headers);
        expect(id === null || /^[!-~]{1,200}$/.test(id)).toBe(true);
        expect(deliveryIdOf(kind, structuredClone(body), headers)).toBe(id);
      }),
    );
  });
});
