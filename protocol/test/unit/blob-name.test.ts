import { type BlobName, blobKeyOf, decodeBlobName, digestOf, encodeBlobName } from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const digests = fc.constantFrom('a', 'b').map((text) => digestOf(text));
const origins = fc.constantFrom('docker.io', `docker.io/${digestOf('a')}`, `${digestOf('a')}@docker.io`);
const names = fc.record(
  { digest: digests, origin: origins, table: digests },
  { requiredKeys: ['digest', 'origin'] },
) as fc.Arbitrary<BlobName>;

test('a name survives its form in messages', () => {
  fc.assert(
    fc.property(names, (name) => {
      expect(decodeBlobName(encodeBlobName(name))).toEqual(name);
    }),
  );
});

test('names that differ have different keys', () => {
  fc.assert(
    fc.property(names, names, (one, other) => {
      const isSame = one.digest === other.digest && one.origin === other.origin && one.table === other.table;
      expect(blobKeyOf(one) === blobKeyOf(other)).toBe(isSame);
    }),
  );
});

test('a name whose table is no digest is refused', () => {
  const encoded = { ...encodeBlobName({ digest: digestOf('a'), origin: 'docker.io' }) };
  expect(() => decodeBlobName({ ...encoded, table: new Uint8Array(31) })).toThrow(/no blob/);
});
