import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { listTree, type Tree, temporaryDirectory } from '@drakkar/lab';
import type { SnapshotConfig } from '@drakkar/protocol';
import { Traces } from '@drakkar/service';
import { newReceipt } from '../../src/content/index.ts';
import { nativeHelper } from '../../src/native.ts';
import type { Acquisition } from '../../src/snapshots/acquire.ts';
import {
  Acquirer,
  Announcer,
  Catalogue,
  type Cluster,
  type Extent,
  Images,
  LearnedStarts,
  Rearranger,
  SnapshotService,
  startKeyOf,
  tracedFiles,
  Volumes,
  verifySnapshot,
  Work,
} from '../../src/snapshots/index.ts';
import type { Names } from '../../src/swarm/index.ts';
import { type Stack, type StackOptions, startStack } from './stack.ts';

type Parts = Omit<Stack, 'mirror'>;

const HOUR_MS = 3_600_000;

export interface SnapshotHostOptions extends StackOptions {
  readonly buildUponEarlier?: boolean;
  readonly trustCluster?: boolean;
  /** A member of a cluster that it is, and what that knows of snapshots. */
  readonly member?: Parts & { readonly cluster: Cluster; readonly builds?: Pick<Names, 'ask' | 'tell'> };
  /** How long after it has been learned what starts read it lays snapshots out anew; else it does not. */
  readonly rearrangeDelayMs?: number;
  /** Private keys of builders; the first is the host's own, the others are trusted. */
  readonly keys?: readonly [KeyObject, ...KeyObject[]];
}

/** A host that comes by snapshots, as the daemon wires it, without a helper that could mount them. */
export interface SnapshotHost extends Parts {
  readonly catalogue: Catalogue;
  readonly learned: LearnedStarts;
  readonly announcer: Announcer | undefined;
  readonly service: SnapshotService;
  /** What was warned of. */
  readonly warnings: readonly string[];
  acquire(
    image: string,
    options?: { readonly rebuild?: boolean; readonly extent?: Extent },
  ): Promise<Acquisition & { work: Work }>;
  push(acquisition: Acquisition): Promise<void>;
  /** The tree of a snapshot whose files are here, as `fsck.erofs` reads it. */
  treeOf(config: SnapshotConfig): Promise<Tree>;
}

export function builderKey(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey;
}

export async function startSnapshotHost(options: SnapshotHostOptions = {}): Promise<SnapshotHost> {
  await using started = new AsyncDisposableStack();
  const stack = options.member ?? started.use(await startStack(options));
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
  const traces = started.use(new Traces(':memory:', { maxBytes: 2 ** 20 }));
  const cluster = options.member?.cluster;
  const learned = new LearnedStarts(traces, cluster);
  const announcer = cluster && started.use(new Announcer({ cluster, catalogue, content, store, log }));
  announcer?.start();
  const acquirer = new Acquirer(
    {
      blockBytes: 64 * 1024,
      limits: {},
      stallTimeoutMs: 60_000,
      useRegistry: true,
      buildUponEarlier: options.buildUponEarlier ?? true,
      builderKey: own,
      trustedKeys: [own, ...others],
      trustCluster: options.trustCluster ?? true,
    },
    {
      registry: client,
      content,
      store,
      native,
      log,
      images,
      catalogue,
      learned,
      cluster,
      announcer,
      builds: options.member?.builds,
    },
  );
  const volumes = new Volumes(
    { backend: 'local', backing: 'auto' },
    {
      native,
      store,
      filler: { know: () => {}, require: async () => {}, forget: async () => {} },
      completion: { add: () => {}, remove: () => {} },
      find: () => undefined,
      log,
    },
  );
  if (options.rearrangeDelayMs !== undefined) {
    const { rearrangeDelayMs: delayMs } = options;
    const rearranging = { delayMs, stallTimeoutMs: 60_000, builderKey: own };
    const modules = { store, log, catalogue, learned, volumes, announcer };
    started.use(new Rearranger(rearranging, modules)).start();
  }
  const service = new SnapshotService({
    images,
    acquirer,
    catalogue,
    volumes,
    store,
    learned,
    started: () => {},
    tracer: { foresee: () => {}, begin: () => {}, ended: async () => {} },
    filesIn: (record, ranges, call) => tracedFiles(record, ranges, store, call),
    filler: { received: () => newReceipt(), fetchAhead: async () => {}, prefetch: async () => true },
    verify: (record, work) => verifySnapshot(record, store, work),
    flatten: () => Promise.reject(new Error('nobody exports here')),
  });
  const running = started.move();
  return {
    ...stack,
    catalogue,
    learned,
    announcer,
    service,
    warnings,
    async acquire(name, { rebuild = false, extent = 'whole' } = {}) {
      const work = new Work();
      const image = await images.resolve(name, undefined, work);
      return { ...(await acquirer.acquire(image, { rebuild, extent, startKey: startKeyOf() }, work)), work };
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
