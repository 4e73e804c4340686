import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { listTree, type Tree, temporaryDirectory } from '@drakkar/lab';
import type { SnapshotConfig } from '@drakkar/protocol';
import { newReceipt } from '../../src/content/index.ts';
import { nativeHelper } from '../../src/native.ts';
import type { Acquisition } from '../../src/snapshots/acquire.ts';
import {
  Acquirer,
  Catalogue,
  Images,
  SnapshotService,
  Volumes,
  verifySnapshot,
  Work,
} from '../../src/snapshots/index.ts';
import { type Stack, type StackOptions, startStack } from './stack.ts';

const HOUR_MS = 3_600_000;

export interface SnapshotHostOptions extends StackOptions {
  readonly buildUponEarlier?: boolean;
  /** Private keys of builders; the first is the host's own, the others are trusted. */
  readonly keys?: readonly [KeyObject, ...KeyObject[]];
}

/** A host that comes by snapshots, as the daemon wires it, without a helper that could mount them. */
export interface SnapshotHost extends Stack {
  readonly catalogue: Catalogue;
  readonly service: SnapshotService;
  /** What was warned of. */
  readonly warnings: readonly string[];
  acquire(image: string, options?: { readonly rebuild?: boolean }): Promise<Acquisition & { work: Work }>;
  push(acquisition: Acquisition): Promise<void>;
  /** The tree of a snapshot whose files are here, as `fsck.erofs` reads it. */
  treeOf(config: SnapshotConfig): Promise<Tree>;
}

export function builderKey(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey;
}

export async function startSnapshotHost(options: SnapshotHostOptions = {}): Promise<SnapshotHost> {
  await using started = new AsyncDisposableStack();
  const stack = started.use(await startStack(options));
  const directory = started.use(await temporaryDirectory('snapshots'));
  const catalogue = started.use(new Catalogue(join(directory.path, 'snapshots.sqlite')));
  const native = started.use(nativeHelper(join(directory.path, 'no-helper.sock')));
  const warnings: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn: (_context: object, message: string) => void warnings.push(message),
    error() {},
  };
  const { client, content, store } = stack;
  const images = new Images({ tagMaxAgeMs: HOUR_MS }, { registry: client, catalogue, store, log });
  const [own, ...others] = options.keys ?? [builderKey()];
  const acquirer = new Acquirer(
    {
      blockBytes: 64 * 1024,
      limits: {},
      stallTimeoutMs: 60_000,
      useRegistry: true,
      buildUponEarlier: options.buildUponEarlier ?? true,
      builderKey: own,
      trustedKeys: [own, ...others],
    },
    { registry: client, content, store, native, log, images, catalogue },
  );
  const service = new SnapshotService({
    images,
    acquirer,
    catalogue,
    volumes: new Volumes(
      { backend: 'local', backing: 'auto' },
      {
        native,
        store,
        filler: { know: () => {}, require: async () => {}, forget: async () => {} },
        completion: { add: () => {}, remove: () => {} },
        find: () => undefined,
        log,
      },
    ),
    store,
    filler: { received: () => newReceipt() },
    verify: (record, work) => verifySnapshot(record, store, work),
    flatten: () => Promise.reject(new Error('nobody exports here')),
  });
  const running = started.move();
  return {
    ...stack,
    catalogue,
    service,
    warnings,
    async acquire(name, { rebuild = false } = {}) {
      const work = new Work();
      const image = await images.resolve(name, undefined, work);
      return { ...(await acquirer.acquire(image, { rebuild, extent: 'whole' }, work)), work };
    },
    push: ({ image, record }) => acquirer.push(image.reference, record, new Work()),
    async treeOf({ meta, devices }) {
      const extracted = join(directory.path, 'extracted');
      const paths = devices.map(({ rawDigest }) => `--device=${store.pathOf(rawDigest)}`);
      execFileSync('fsck.erofs', [`--extract=${extracted}`, ...paths, store.pathOf(meta.rawDigest)], {
        stdio: 'pipe',
      });
      try {
        return await listTree(extracted);
      } finally {
        rmSync(extracted, { recursive: true });
      }
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
