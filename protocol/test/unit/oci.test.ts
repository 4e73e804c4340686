import {
  type Descriptor,
  digestOf,
  MEDIA_TYPES,
  OCI_LIMITS,
  parseImageConfig,
  parseManifestDocument,
  parsePlatform,
  selectPlatform,
} from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));
const descriptor = { mediaType: MEDIA_TYPES.ociLayerGzip, digest: digestOf('layer'), size: 5 };
const manifest = {
  schemaVersion: 2,
  config: { ...descriptor, mediaType: MEDIA_TYPES.ociConfig },
  layers: [descriptor],
};

describe('a manifest document', () => {
  test('is a manifest or an index, by its media type or by what it holds', () => {
    expect(parseManifestDocument(bytesOf(manifest)).kind).toBe('manifest');
    expect(
      parseManifestDocument(bytesOf({ ...manifest, mediaType: MEDIA_TYPES.dockerManifest })).mediaType,
    ).toBe(MEDIA_TYPES.dockerManifest);
    expect(parseManifestDocument(bytesOf({ schemaVersion: 2, manifests: [] })).kind).toBe('index');
    expect(parseManifestDocument(bytesOf(manifest), `${MEDIA_TYPES.ociManifest}; charset=utf-8`).kind).toBe(
      'manifest',
    );
  });

  test.each<[string, unknown, string]>([
    ['no JSON', '{', 'invalid_content'],
    ['both kinds at once', { ...manifest, manifests: [] }, 'invalid_content'],
    ['a negative size', { ...manifest, layers: [{ ...descriptor, size: -1 }] }, 'invalid_content'],
    [
      'a size beyond what a number holds',
      { ...manifest, layers: [{ ...descriptor, size: 2 ** 60 }] },
      'limit_exceeded',
    ],
    [
      'a bad digest',
      { ...manifest, layers: [{ ...descriptor, digest: 'sha256:../../x' }] },
      'invalid_content',
    ],
    ['10,000 layers', { ...manifest, layers: Array(10_000).fill(descriptor) }, 'limit_exceeded'],
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, 'invalid_content'],
  ])('with %s is refused', (_, value, code) => {
    const bytes = typeof value === 'string' ? Buffer.from(value) : bytesOf(value);
    expect(() => parseManifestDocument(bytes)).toThrow(expect.objectContaining({ code }));
  });

  test('over the limit is refused before it is parsed', () => {
    const bytes = Buffer.alloc(OCI_LIMITS.manifestBytes + 1, 0x20);
    expect(() => parseManifestDocument(bytes)).toThrow(expect.objectContaining({ code: 'limit_exceeded' }));
  });

  test('of any bytes gives a document or a refusal', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          for (const parse of [parseManifestDocument, parseImageConfig]) {
            try {
              parse(bytes);
            } catch (error) {
              expect(error).toMatchObject({ name: 'DrakkarError' });
            }
          }
        },
      ),
    );
  });
});

test('an image config gives nulls where images write them', () => {
  const config = parseImageConfig(
    bytesOf({ config: { Cmd: null, Env: null }, rootfs: { type: 'layers', diff_ids: null } }),
  );
  expect(config).toMatchObject({ os: 'linux', architecture: 'amd64', config: { Cmd: null } });
});

describe('the entry for a platform', () => {
  const entry = (platform: object, digest: string): Descriptor => ({
    ...descriptor,
    digest: digestOf(digest),
    platform: platform as Descriptor['platform'],
  });
  const list = [
    entry({ os: 'linux', architecture: 'amd64' }, 'amd64'),
    entry({ os: 'linux', architecture: 'arm64', variant: 'v8' }, 'v8'),
    entry({ os: 'linux', architecture: 'arm', variant: 'v6' }, 'v6'),
    entry({ os: 'linux', architecture: 'arm', variant: 'v7' }, 'v7'),
    entry({ os: 'unknown', architecture: 'unknown' }, 'attestation'),
  ];
  test.each([
    ['linux/amd64', 'amd64'],
    ['linux/arm64', 'v8'],
    ['linux/arm/v7', 'v7'],
    ['linux/s390x', undefined],
  ])('%s', (platform, digest) => {
    expect(selectPlatform(list, parsePlatform(platform))?.digest).toBe(digest && digestOf(digest));
  });
  test.each(['', 'linux', 'linux/', 'linux/a/b/c', 'linux/a/'])('%j is no platform', (text) => {
    expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  });
});
