import { digestOf } from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatPieceRequest, parsePieceRequest } from '../../../src/swarm/data-server.ts';

const requests = fc.record({
  blob: fc.record({
    digest: fc.string().map((text) => digestOf(text)),
    origin: fc.constantFrom('docker.io', '127.0.0.1:5000', 'https://a.example:8443', 'a&table=b', '[::1]:80'),
    table: fc.option(
      fc.string().map((text) => digestOf(text)),
      { nil: undefined },
    ),
  }),
  first: fc.nat(1_000_000),
  last: fc.integer({ min: 1_000_000, max: 999_999_999 }),
});

test('a request for pieces is understood as it was meant, however the blob is cut', () => {
  fc.assert(
    fc.property(requests, (request) => {
      expect(parsePieceRequest(formatPieceRequest(request))).toEqual(request);
    }),
  );
});

test.each(['', 'x', `${digestOf('a')}0`, digestOf('a').toUpperCase()])('%j cuts nothing', (table) => {
  const whole = formatPieceRequest({
    blob: { digest: digestOf('b'), origin: 'docker.io' },
    first: 0,
    last: 0,
  });
  expect(() => parsePieceRequest(`${whole}&table=${table}`)).toThrow(/no request for pieces/);
});
