import { open } from 'node:fs/promises';
import { type Digest, Digester, DrakkarError, isDrakkarError } from '@drakkar/protocol';
import type { SnapshotRecord } from './catalogue.ts';
import { type Abortable, allDigests, filesOf, rawDigests, type Store } from './modules.ts';
import { pinned } from './staging.ts';
import type { Work } from './work.ts';

const READ_BYTES = 1024 * 1024;

/**
 * Reads every byte of a snapshot that is here, as it is mounted and as it travels, and compares it with the signed digests.
 *
 * @returns how many bytes were compared
 * @throws `invalid_content` that names the first file that differs; `not_found` where a raw file is not here
 */
export function verifySnapshot(record: SnapshotRecord, store: Store, work: Work): Promise<number> {
  return pinned(store, allDigests(record.config), () => compareAll(record, store, work));
}

async function compareAll(record: SnapshotRecord, store: Store, work: Work): Promise<number> {
  const { config } = record;
  await store.verify(allDigests(config));
  const travelling = allDigests(config).filter((digest) => store.has(digest));
  const digests = new Set([...rawDigests(config), ...travelling]);
  const totalBytes = filesOf(config).reduce(
    (total, file) => total + file.rawSizeBytes + file.blobSizeBytes,
    0,
  );
  let verifiedBytes = 0;
  for (const digest of digests) {
    const actual = await digestOfFile(pathOf(record, store, digest), work, (bytes) => {
      verifiedBytes += bytes;
      work.progress('verify', verifiedBytes, totalBytes);
    });
    if (actual === digest) continue;
    throw new DrakkarError(
      'invalid_content',
      `${digest} of the snapshot of ${record.image} is damaged: it is ${actual}`,
      {
        hint: 'remove the snapshot with `drakkar snapshot rm` and build it again; then check the disk',
      },
    );
  }
  return verifiedBytes;
}

function pathOf(record: SnapshotRecord, store: Store, digest: Digest): string {
  try {
    return store.pathOf(digest);
  } catch (cause) {
    if (!isDrakkarError(cause, 'not_found')) throw cause;
    throw new DrakkarError('not_found', `${digest} of the snapshot of ${record.image} is not here whole`, {
      hint: `bring it here with: drakkar snapshot build ${record.image}`,
      cause,
    });
  }
}

async function digestOfFile(
  path: string,
  { signal }: Abortable,
  onBytes: (bytes: number) => void,
): Promise<Digest> {
  await using file = await open(path, 'r');
  const digester = new Digester();
  const buffer = Buffer.alloc(READ_BYTES);
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(buffer);
    if (bytesRead === 0) return digester.digest();
    digester.update(buffer.subarray(0, bytesRead));
    onBytes(bytesRead);
  }
}
