import { digestOf } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { chooseEarlier } from '../../../src/snapshots/dictionary.ts';
import { config, record } from '../../kit/records.ts';

const chunks = { blobDigest: digestOf('chunks'), blobSizeBytes: 10, rawSizeBytes: 12 };
const known = (name: string, changed: Parameters<typeof record>[1] = {}) =>
  record(name, { config: { ...config(name), chunks }, ...changed });

const wanted = {
  repository: { registry: 'docker.io', repository: 'library/app' },
  platform: 'linux/amd64',
  manifestDigest: digestOf('new'),
  blockBytes: 524_288,
  trustedSigners: new Set(['key']),
  trustCluster: false,
};

describe('the snapshot upon which another one is built', () => {
  test('is the newest of the repository, whatever its tag', () => {
    const records = [
      known('old', { createdAtMs: 1 }),
      known('newest', { createdAtMs: 9, image: 'docker.io/library/app:9' }),
      known('older', { createdAtMs: 5 }),
    ];
    expect(chooseEarlier(records, wanted)?.manifestDigest).toBe(digestOf('newest'));
    expect(chooseEarlier([], wanted)).toBeUndefined();
  });

  test('may be the cluster’s, where that is trusted', () => {
    const given = known('x', { signer: 'stranger', origin: 'cluster' });
    expect(chooseEarlier([given], wanted)).toBeUndefined();
    expect(chooseEarlier([given], { ...wanted, trustCluster: true })).toBe(given);
    const pushed = known('x', { signer: 'stranger', origin: 'registry' });
    expect(chooseEarlier([pushed], { ...wanted, trustCluster: true })).toBeUndefined();
  });

  test.each([
    ['of another registry', known('x', { image: 'quay.io/library/app:1' })],
    ['of another repository', known('x', { image: 'docker.io/library/application:1' })],
    ['for another platform', known('x', { platform: 'linux/arm64' })],
    ['of the very image', known('new')],
    ['of another block size', known('x', { config: { ...config('x'), chunks, blockBytes: 4096 } })],
    ['without a chunk list', record('x')],
    ['of a builder who is not trusted', known('x', { signer: 'stranger' })],
  ])('is none %s', (_name, other) => {
    expect(chooseEarlier([other], wanted)).toBeUndefined();
    const good = known('good', { createdAtMs: 0 });
    expect(chooseEarlier([good, other], wanted)).toBe(good);
  });
});
