import { digestOf, MEDIA_TYPES } from '@drakkar/protocol';
import type { HookKind } from './kinds.ts';

const DIGEST = digestOf('an example');
const [REPOSITORY, TAG] = ['team/app', '1.4'];

/** What each sender says of the push of `team/app:1.4`, as short as it is understood: for who tries a hook and has nothing to send. */
export const EXAMPLES: Readonly<Record<HookKind, object>> = {
  distribution: {
    events: [
      {
        id: 'example',
        action: 'push',
        target: { mediaType: MEDIA_TYPES.ociManifest, digest: DIGEST, repository: REPOSITORY, tag: TAG },
        request: { host: 'registry.example' },
      },
    ],
  },
  harbor: {
    type: 'PUSH_ARTIFACT',
    event_data: {
      resources: [{ digest: DIGEST, tag: TAG, resource_url: `harbor.example/${REPOSITORY}:${TAG}` }],
      repository: { repo_full_name: REPOSITORY },
    },
  },
  'docker-hub': { push_data: { tag: TAG }, repository: { repo_name: REPOSITORY } },
  ghcr: {
    action: 'published',
    registry_package: {
      name: 'app',
      owner: { login: 'team' },
      package_type: 'CONTAINER',
      package_version: {
        version: DIGEST,
        container_metadata: { tag: { name: TAG, digest: DIGEST } },
      },
    },
  },
  'acr-azure': {
    id: 'example',
    action: 'push',
    target: { digest: DIGEST, repository: REPOSITORY, tag: TAG },
    request: { host: 'team.azurecr.io' },
  },
  'acr-aliyun': {
    push_data: { digest: DIGEST, tag: TAG },
    repository: { repo_full_name: REPOSITORY, region: 'cn-hangzhou' },
  },
  generic: { images: [`registry.example/${REPOSITORY}:${TAG}`] },
};
