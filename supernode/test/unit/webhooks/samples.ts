import { digestOf, MEDIA_TYPES } from '@drakkar/protocol';
import type { HookKind, Pushed } from '../../../src/webhooks/index.ts';

/** Made for these tests after the forms that the senders document; what they send besides, and nobody looks at, is there in part. */

export const DIGEST = digestOf('manifest');
export const OTHER = digestOf('another manifest');

export const pushed = (
  registry: string,
  repository: string,
  tag: string | null,
  digest: Pushed['digest'] = DIGEST,
): Pushed => ({ registry, repository, tag, digest });

/** Source: distribution.github.io, Work with notifications. */
export const distributionEvent = (target: object, more: object = {}) => ({
  id: '7a1c5b52-0d3e-4c0a-9d55-1f6f3f0c2a10',
  timestamp: '2026-03-01T10:00:00.123Z',
  action: 'push',
  target: {
    mediaType: MEDIA_TYPES.ociManifest,
    size: 708,
    digest: DIGEST,
    length: 708,
    repository: 'team/app',
    url: `http://registry.example.com/v2/team/app/manifests/${DIGEST}`,
    tag: '1.4',
    ...target,
  },
  request: {
    id: 'f0e1d2c3',
    addr: '10.0.0.7:50120',
    host: 'registry.example.com',
    method: 'PUT',
    useragent: 'containerd/2.1',
  },
  actor: { name: 'builder' },
  source: { addr: 'registry-0:5000', instanceID: '1d2c' },
  ...more,
});

const harborData = {
  resources: [{ digest: DIGEST, tag: '1.4', resource_url: 'harbor.example.com/team/app:1.4' }],
  repository: {
    date_created: 1_767_225_600,
    name: 'app',
    namespace: 'team',
    repo_full_name: 'team/app',
    repo_type: 'private',
  },
};

/** Source: goharbor.io, Configure Webhook Notifications. */
export const harborEvent = (type = 'PUSH_ARTIFACT', data: object = harborData) => ({
  type,
  occur_at: 1_767_225_601,
  operator: 'robot$builder',
  event_data: data,
});
export const harborCloudEvent = (type = 'harbor.artifact.pushed', data: object = harborData) => ({
  specversion: '1.0',
  id: '66e18103-09c1-41f6-982f-37df223f3ee0',
  requestid: '51c0b694-0168-4f3c-b0db-282565455d70',
  source: '/projects/2/webhook/policies/15',
  type,
  datacontenttype: 'application/json',
  time: '2026-03-01T10:00:00Z',
  data,
  operator: 'robot$builder',
});

/** Source: docs.docker.com, Webhooks. */
export const dockerHubPush = (repository: string, tag: string | undefined = '1.4') => ({
  callback_url: 'https://registry.hub.docker.com/u/team/app/hook/2141b5bi5i5b02bec211i4eeih0242eg11000a/',
  push_data: { pushed_at: 1_767_225_601, pusher: 'builder', tag },
  repository: { name: 'app', namespace: 'team', repo_name: repository, status: 'Active', is_official: false },
});

/** Source: docs.github.com, Webhook events and payloads: package, registry_package. */
export const githubPackage = (more: object = {}, tag: object | null = { name: '1.4', digest: DIGEST }) => ({
  id: 9_056_324,
  name: 'app',
  namespace: 'Team',
  ecosystem: 'CONTAINER',
  package_type: 'CONTAINER',
  owner: { login: 'Team', id: 7 },
  package_version: {
    id: 564_296_960,
    version: DIGEST,
    name: DIGEST,
    container_metadata: { tag, labels: {}, manifest: { digest: DIGEST, size: 685, layers: [] } },
    package_url: 'ghcr.io/Team/app:1.4',
  },
  registry: { name: 'GitHub CONTAINER registry', type: 'CONTAINER' },
  ...more,
});
export const githubEvent = (item: object = githubPackage()) => ({
  action: 'published',
  registry_package: item,
  sender: { login: 'builder' },
});

/** Source: learn.microsoft.com, Azure Container Registry webhook reference. */
export const azurePush = (target: object = {}, more: object = {}) => ({
  id: 'cb8c3971-9adc-488b-bdd8-43cbb4974ff5',
  timestamp: '2026-03-01T10:00:00.343145347Z',
  action: 'push',
  target: {
    mediaType: MEDIA_TYPES.dockerManifest,
    size: 524,
    digest: DIGEST,
    length: 524,
    repository: 'team/app',
    tag: '1.4',
    ...target,
  },
  request: { id: '3cbb6949', host: 'team.azurecr.io', method: 'PUT', useragent: 'docker/28.0' },
  ...more,
});

/** Source: learn.microsoft.com, Azure Container Registry as an Event Grid source. */
export const gridEvent = (data: object = azurePush(), type = 'Microsoft.ContainerRegistry.ImagePushed') => ({
  id: '831e1650-001e-001b-66ab-eeb76e069631',
  topic: '/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/team',
  subject: 'team/app:1.4',
  eventType: type,
  eventTime: '2026-03-01T10:00:00.6549614Z',
  data,
  dataVersion: '1.0',
  metadataVersion: '1',
});
export const gridCloudEvent = (data: object = azurePush()) => ({
  id: '831e1650-001e-001b-66ab-eeb76e069632',
  source: '/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/team',
  subject: 'team/app:1.4',
  type: 'Microsoft.ContainerRegistry.ImagePushed',
  time: '2026-03-01T10:00:00.6549614Z',
  data,
  specversion: '1.0',
});
/** Source: learn.microsoft.com, Endpoint validation with Event Grid event schema. */
export const gridValidation = gridEvent(
  { validationCode: '512d38b6-c7b8-40c8-89fe-f46f9e9622b0', validationUrl: 'https://eventgrid.example/v' },
  'Microsoft.EventGrid.SubscriptionValidationEvent',
);

/** Source: alibabacloud.com, Container Registry triggers. */
export const aliyunPush = (repository: object = {}) => ({
  push_data: { digest: DIGEST, pushed_at: '2026-03-01 10:00:00', tag: '1.4' },
  repository: {
    date_created: '2025-10-28 21:31:42',
    name: 'app',
    namespace: 'team',
    region: 'cn-hangzhou',
    repo_authentication_type: 'NO_CERTIFIED',
    repo_full_name: 'team/app',
    repo_origin_type: 'NO_CERTIFIED',
    repo_type: 'PRIVATE',
    ...repository,
  },
});

/** What each kind may send. */
export const SAMPLES: Readonly<Record<HookKind, readonly object[]>> = {
  distribution: [{ events: [distributionEvent({}), distributionEvent({ tag: 'latest' })] }],
  harbor: [harborEvent(), harborCloudEvent()],
  'docker-hub': [dockerHubPush('team/app')],
  ghcr: [githubEvent(), { action: 'published', package: githubPackage() }],
  'acr-azure': [azurePush(), [gridEvent()], gridCloudEvent(), [gridValidation]],
  'acr-aliyun': [aliyunPush()],
  generic: [
    { images: ['ghcr.io/team/app:1.4', `debian@${DIGEST}`] },
    { registry: 'registry.example.com', repository: 'team/app', tag: '1.4', digest: DIGEST },
  ],
};
