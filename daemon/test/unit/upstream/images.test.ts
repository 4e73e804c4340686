import { digestOf, parsePlatform, parseReference } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { findImage } from '../../../src/upstream/images.ts';

test('an image that is there for other platforms is told from one that is not there', async () => {
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const entry = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digestOf(''), size: 1 };
  const manifests = [{ ...entry, platform: { os: 'linux', architecture: 'amd64' } }];
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  const fetch = async () => ({ digest: digestOf(bytes), mediaType, sizeBytes: bytes.length, bytes });
  await expect(
    findImage(fetch, parseReference('quay.io/a/b'), parsePlatform('linux/riscv64')),
  ).rejects.toMatchObject({ code: 'no_platform', hint: 'it has linux/amd64' });
});
