import { DrakkarError, digestOf, ERROR_CODES } from '@drakkar/protocol';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { refusalFor } from '../../../src/mirror/answers.ts';
import { selectRange } from '../../../src/mirror/range.ts';
import { parseRoute } from '../../../src/mirror/route.ts';

test('a range selects exactly the bytes that it names', () => {
  const size = fc.nat(10_000);
  fc.assert(
    fc.property(size, fc.nat(12_000), fc.nat(12_000), (sizeBytes, first, last) => {
      const all = Array.from({ length: sizeBytes }, (_, index) => index);
      const closed = selectRange(`bytes=${first}-${last}`, sizeBytes);
      if (last < first) expect(closed).toBeUndefined();
      else if (first >= sizeBytes) expect(closed).toBe('unsatisfiable');
      else expect(closed).toEqual({ start: first, end: first + all.slice(first, last + 1).length });
      const suffix = selectRange(`bytes=-${last}`, sizeBytes);
      const tail = last === 0 ? [] : all.slice(-last);
      expect(suffix).toEqual(
        tail.length === 0 ? 'unsatisfiable' : { start: sizeBytes - tail.length, end: sizeBytes },
      );
    }),
  );
});

test('what is no single byte range is ignored', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const range = selectRange(text, 100);
      if (range !== undefined && range !== 'unsatisfiable') expect(text).toMatch(/^bytes=/i);
    }),
  );
  for (const header of [undefined, 'bytes=0-1,5-6', 'bytes=-', 'items=0-1', 'bytes=5-1']) {
    expect(selectRange(header, 100)).toBeUndefined();
  }
});

test('paths are read as containerd writes them', () => {
  const digest = digestOf('x');
  const image = { registry: 'ghcr.io', repository: 'a/b/c' };
  expect(parseRoute('/v2/a/b/c/manifests/v1?ns=ghcr.io', 'docker.io')).toEqual({
    kind: 'tag',
    image,
    tag: 'v1',
  });
  expect(parseRoute(`/v2/a/b/c/blobs/${digest}?ns=ghcr.io`, 'docker.io')).toEqual({
    kind: 'blob',
    image,
    digest,
  });
  expect(parseRoute(`/v2/a/b/c/manifests/${digest}?ns=ghcr.io`, 'x')).toEqual({
    kind: 'manifest',
    image,
    digest,
  });
  expect(parseRoute('/v2/library/debian/manifests/12', 'docker.io')).toMatchObject({
    image: { registry: 'docker.io' },
  });
  expect(parseRoute('/v2/library/debian/manifests/12?ns=registry-1.docker.io', 'x')).toMatchObject({
    image: { registry: 'docker.io' },
  });
  fc.assert(
    fc.property(fc.string(), (text) => {
      const route = parseRoute(`/v2/${text}`, 'docker.io');
      if (route !== undefined && route.kind !== 'base') expect(route.image.repository).not.toContain('..');
    }),
  );
});

test('no error becomes a status that containerd would retry on the mirror', () => {
  for (const code of ERROR_CODES) {
    const { status } = refusalFor(new DrakkarError(code, 'x', { details: { challenge: 'Basic realm="x"' } }));
    expect([401, 403, 404, 502]).toContain(status);
  }
});
