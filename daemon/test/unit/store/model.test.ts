import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { type Digest, digestOf, hexOf, isDrakkarError } from '@drakkar/protocol';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { openStore, type Store } from '../../../src/store/index.ts';

const MEBIBYTE = 1024 * 1024;
const QUOTA_BYTES = 6 * MEBIBYTE;

/** Contents of several sizes around piece boundaries, the empty one included. */
const CONTENTS = [0, 1, 1000, MEBIBYTE, MEBIBYTE + 1, 2 * MEBIBYTE + 500, 3 * MEBIBYTE].map(
  (sizeBytes, number) => {
    const bytes = Buffer.alloc(sizeBytes, number + 1);
    return { bytes, sizeBytes, digest: digestOf(bytes) };
  },
);

const content = fc.constantFrom(...CONTENTS);
const operation = fc.oneof(
  fc.record({ kind: fc.constant('write' as const), content, pieces: fc.nat(3), finish: fc.boolean() }),
  fc.record({ kind: fc.constant('discard' as const), content }),
  fc.record({ kind: fc.constant('adopt' as const), content, pinned: fc.boolean() }),
  fc.record({ kind: fc.constant('pin' as const), content }),
  fc.record({ kind: fc.constant('unpin' as const) }),
  fc.record({ kind: fc.constant('reserve' as const), bytes: fc.nat(QUOTA_BYTES) }),
  fc.record({ kind: fc.constant('remove' as const), content }),
  fc.record({ kind: fc.constant('crash' as const) }),
  fc.record({ kind: fc.constant('restart' as const) }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** What a user may rely on, checked against the bytes on disk. */
async function check(store: Store, directory: string, keep: ReadonlySet<Digest>): Promise<void> {
  const { contentBytes, reservedBytes } = store.usage();
  const listed = store.list();
  expect(contentBytes).toBe(listed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  expect(contentBytes + reservedBytes).toBeLessThanOrEqual(QUOTA_BYTES);
  const files = [
    ...(await readdir(join(directory, 'blobs', 'sha256'), { recursive: true })),
    ...(await readdir(join(directory, 'volumes'))),
  ]
    .map((path) => path.split('/').at(-1) ?? '')
    .filter((file) => file.length === 64);
  expect(new Set(files)).toEqual(new Set(listed.map(({ digest }) => hexOf(digest))));
  for (const digest of keep) expect(store.has(digest)).toBe(true);
  for (const { digest, complete, presentBytes, sizeBytes } of listed) {
    expect(presentBytes).toBeLessThanOrEqual(sizeBytes);
    if (!complete || !store.has(digest)) continue;
    expect(digestOf(await readFile(store.pathOf(digest)))).toBe(digest);
  }
}

test('whatever happens in whatever order: exact quota, right bytes, pins kept, and the same again after a crash', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 14 }), async (operations) => {
      await using home = await temporaryDirectory('store-model');
      let generation = 0;
      let directory = join(home.path, '0');
      let store = await openStore({ directory, quotaBytes: QUOTA_BYTES });
      /** Complete and pinned since: must stay whatever else happens. */
      let pinned = new Set<Digest>();
      try {
        for (const step of operations) {
          if (step.kind === 'crash') {
            // What a kill leaves: the files as they are at this moment, the index in the middle of its journal.
            const before = new Map(store.list().map(({ digest, presentBytes }) => [digest, presentBytes]));
            generation += 1;
            const next = join(home.path, String(generation));
            await cp(directory, next, { recursive: true });
            await store.close();
            directory = next;
            store = await openStore({ directory, quotaBytes: QUOTA_BYTES });
            await store.verified;
            expect(new Map(store.list().map(({ digest, presentBytes }) => [digest, presentBytes]))).toEqual(
              before,
            );
          } else if (step.kind === 'restart') {
            await store.close();
            store = await openStore({ directory, quotaBytes: QUOTA_BYTES });
          } else {
            await apply(store, step, pinned).catch((error) => {
              if (!isDrakkarError(error)) throw error;
              expect(['no_space', 'already_exists', 'busy']).toContain(error.code);
            });
            if (step.kind === 'unpin') pinned = new Set();
          }
          await check(store, directory, pinned);
        }
      } finally {
        await store.close();
      }
    }),
    { numRuns: 40 },
  );
});

async function apply(store: Store, step: Operation, pinned: Set<Digest>): Promise<void> {
  if (step.kind === 'reserve') {
    using reservation = store.reserve('test', step.bytes);
    expect(reservation.bytes).toBe(step.bytes);
    const { contentBytes, reservedBytes } = store.usage();
    expect(contentBytes + reservedBytes).toBeLessThanOrEqual(QUOTA_BYTES);
    return;
  }
  if (step.kind === 'unpin') {
    store.unpin('test');
    return;
  }
  if (!('content' in step)) return;
  const item = step.content;
  if (step.kind === 'pin') {
    store.pin(item.digest, 'test');
    if (store.has(item.digest)) pinned.add(item.digest);
  } else if (step.kind === 'remove') {
    store.remove(item.digest);
    expect(store.stat(item.digest)).toBeUndefined();
  } else if (step.kind === 'adopt') {
    using reservation = store.reserve('adopt', item.sizeBytes);
    const path = join(store.stagingDirectory, 'file');
    await writeFile(path, item.bytes);
    await store.adopt(
      path,
      item.digest,
      item.sizeBytes,
      'blob',
      reservation,
      step.pinned ? 'test' : undefined,
    );
    expect(store.has(item.digest)).toBe(true);
    if (step.pinned) pinned.add(item.digest);
  } else {
    await write(store, item, step);
    if (store.has(item.digest) && store.stat(item.digest)?.holders.includes('test')) pinned.add(item.digest);
  }
}

async function write(store: Store, item: (typeof CONTENTS)[number], step: Operation): Promise<void> {
  const writer = await store.writer({ ...item, origin: 'registry.example' });
  if (step.kind === 'discard') {
    await writer.discard();
    expect(store.stat(item.digest)).toBeUndefined();
    return;
  }
  if (step.kind !== 'write') return;
  const { cut } = writer;
  const wanted = step.finish ? cut.pieceCount : step.pieces;
  for (let piece = 0; piece < Math.min(wanted, cut.pieceCount); piece += 1) {
    if (writer.has(piece)) continue;
    const start = cut.start(piece);
    const middle = start + 100;
    await writer.write(start, [item.bytes.subarray(start, middle)]);
    const end = cut.end(piece);
    if (middle < end) await writer.write(middle, [item.bytes.subarray(middle, end)]);
  }
  if (step.finish) await writer.finish();
  await writer.close();
}
