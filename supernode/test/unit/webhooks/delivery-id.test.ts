import { describe, expect, test } from 'vitest';
import { deliveryIdOf, type HookKind } from '../../../src/webhooks/index.ts';
import {
  aliyunPush,
  azurePush,
  distributionEvent,
  dockerHubPush,
  githubEvent,
  gridEvent,
  harborCloudEvent,
  harborEvent,
} from './samples.ts';

describe('the id of a delivery', () => {
  test.each<[HookKind, unknown, string]>([
    ['distribution', { events: [distributionEvent({}, { id: 'one' })] }, 'one'],
    ['harbor', harborCloudEvent(), '66e18103-09c1-41f6-982f-37df223f3ee0'],
    ['acr-azure', azurePush(), 'cb8c3971-9adc-488b-bdd8-43cbb4974ff5'],
    ['acr-azure', [gridEvent()], '831e1650-001e-001b-66ab-eeb76e069631'],
  ])('is the one that %s gives', (kind, body, id) => {
    expect(deliveryIdOf(kind, body, {})).toBe(id);
  });

  test('is in the headers of GitHub and of scripts', () => {
    expect(deliveryIdOf('ghcr', githubEvent(), { 'x-github-delivery': '72d3162e-cc78' })).toBe(
      '72d3162e-cc78',
    );
    expect(deliveryIdOf('ghcr', githubEvent(), {})).toBeNull();
    expect(deliveryIdOf('generic', {}, { 'idempotency-key': 'build 7 of the Größe' })).toMatch(/^sha256:/);
    expect(deliveryIdOf('generic', { id: '1' }, {})).toBeNull();
  });

  test('is of all events of a delivery', () => {
    const of = (...ids: string[]) =>
      deliveryIdOf('distribution', { events: ids.map((id) => distributionEvent({}, { id })) }, {});
    expect(of('one', 'two')).toMatch(/^sha256:/);
    expect(new Set([of('one', 'two'), of('one', 'three'), of('one'), of('two', 'one')]).size).toBe(4);
    expect(
      deliveryIdOf('distribution', { events: [distributionEvent({}, { id: undefined })] }, {}),
    ).toBeNull();
    expect(deliveryIdOf('distribution', { events: [] }, {})).toBeNull();
  });

  test.each<[HookKind, object, object]>([
    ['harbor', harborEvent(), { ...harborEvent(), occur_at: 1_767_225_602 }],
    ['harbor', harborEvent(), { ...harborEvent(), type: 'DELETE_ARTIFACT' }],
    ['docker-hub', dockerHubPush('team/app'), dockerHubPush('team/app', '1.5')],
    ['docker-hub', dockerHubPush('team/app'), dockerHubPush('team/other')],
    ['acr-aliyun', aliyunPush(), aliyunPush({ repo_full_name: 'team/other' })],
  ])('is when it was and what it is about where %s gives none', (kind, one, other) => {
    expect(deliveryIdOf(kind, one, {})).toMatch(/^sha256:/);
    expect(deliveryIdOf(kind, structuredClone(one), {})).toBe(deliveryIdOf(kind, one, {}));
    expect(deliveryIdOf(kind, other, {})).not.toBe(deliveryIdOf(kind, one, {}));
  });
});
