import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, digestFromHex } from '@drakkar/protocol';
import type { IndexFile } from './index-file.ts';
import type { ContentKind, Layout } from './layout.ts';

export interface Repairs {
  /** Files that no row knew. */
  readonly filesRemoved: number;
  /** Rows whose file was gone, or not as long as it must be. */
  readonly rowsRemoved: number;
}

const HEX = /^[0-9a-f]{64}$/;

/** Makes index and files agree again; only this process may use them. Names that are not ours are left alone. */
export function repair(layout: Layout, index: IndexFile, checkSizes: boolean): Repairs {
  const rows = new Map(index.list().map((row) => [row.digest, row]));
  const found = new Set<Digest>();
  let filesRemoved = 0;
  let rowsRemoved = 0;
  for (const { path, digest, kind } of contentFiles(layout)) {
    const row = rows.get(digest);
    if (row?.kind === kind && (!checkSizes || statSync(path).size === row.sizeBytes)) {
      found.add(digest);
      continue;
    }
    rmSync(path, { force: true });
    filesRemoved += 1;
  }
  index.transaction(() => {
    for (const digest of rows.keys()) {
      if (found.has(digest)) continue;
      index.delete(digest);
      rowsRemoved += 1;
    }
  });
  return { filesRemoved, rowsRemoved };
}

function* contentFiles(layout: Layout): Generator<{ path: string; digest: Digest; kind: ContentKind }> {
  for (const shard of readdirSync(layout.blobs)) {
    if (!/^[0-9a-f]{2}$/.test(shard)) continue;
    yield* filesIn(join(layout.blobs, shard), 'blob');
  }
  yield* filesIn(layout.volumes, 'volume');
}

function* filesIn(directory: string, kind: ContentKind) {
  for (const name of readdirSync(directory)) {
    if (HEX.test(name)) yield { path: join(directory, name), digest: digestFromHex(name), kind };
  }
}
