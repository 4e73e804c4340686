import { createPublicKey, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { availableParallelism, homedir, hostname } from 'node:os';
import { join } from 'node:path';
import {
  ADMIN_SOCKET_NAME,
  type BlobSummary,
  type DaemonStatus,
  type GetRequest,
  type PullRequest,
} from '@drakkar/client';
import {
  type Digest,
  DrakkarError,
  decodePublicKey,
  encodePublicKey,
  formatPlatform,
  type RegistryCredential,
  toDrakkarError,
} from '@drakkar/protocol';
import {
  collectLessOften,
  createLog,
  loadKey,
  releaseMemoryWhenIdle,
  serveMetrics,
  startTracing,
  Traces,
} from '@drakkar/service';
import { type FlatStream, streamFlat } from '@drakkar/snapshotter';
import type { Logger } from 'pino';
import packageDocument from '../package.json' with { type: 'json' };
import { serveAdmin } from './admin/index.ts';
import type { Config } from './config/index.ts';
import { type Content, createContent } from './content/index.ts';
import { FileMemory, Files } from './files/index.ts';
import { Completion, Filler } from './fill/index.ts';
import { Measurements } from './measurements/index.ts';
import { createDaemonMetrics, type DaemonFigures } from './metrics.ts';
import { serveMirror } from './mirror/index.ts';
import { type NativeHelper, nativeHelper } from './native.ts';
import { type PullOptions, pullImage } from './pull.ts';
import {
  Acquirer,
  Announcer,
  Catalogue,
  findDevice,
  findVolume,
  Images,
  LearnedStarts,
  Rearranger,
  type SnapshotRecord,
  SnapshotService,
  STAGING_HOLDER_PREFIX,
  StartTracer,
  snapshotFigures,
  tracedFiles,
  Volumes,
  verifySnapshot,
  type Work,
} from './snapshots/index.ts';
import { openStore, type Store } from './store/index.ts';
import type { SwarmPeer, SwarmPeerModules } from './swarm/index.ts';
import { doTask, evict, evictImage, HostTasks } from './tasks/index.ts';
import { createFileClient, createRegistryClient } from './upstream/index.ts';

/** Before the helper itself gives up, a reader is told why. */
const FILL_MARGIN_MS = 500;

/** What is remembered of starts. */
const TRACES_BYTES = 256 * 1024 * 1024;

/** What is read later belongs to no start. */
const LONGEST_TRACE_MS = 10_000;
/** Of a device that has been completed in the background nobody sees what is read. */
const BEFORE_COMPLETION_MS = 500;

/** A running daemon. Disposing it stops everything it started; mounts stay, for the next one. */
export interface Daemon extends AsyncDisposable {
  status(): Promise<DaemonStatus>;
  /** Root file systems that containers may be running on: the ids of their starts, and of their containers. */
  starts(): Promise<string[]>;
  /** Ends every start and unmounts every volume that nothing uses; gives the ids of those that stay. */
  unmountAll(): Promise<string[]>;
}

/**
 * Wires the parts together and starts them: nothing else happens here.
 *
 * @throws `busy` where another daemon has the state directory, socket or port; `forbidden` where it can't be written
 */
export async function startDaemon(
  config: Config,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Daemon> {
  const startedMs = performance.now();
  const log = createLog(config.log.level);
  await using stack = new AsyncDisposableStack();
  const instance = config.swarm.name ?? hostname();
  const identity = { name: 'drakkar-daemon', version: packageDocument.version, instance };
  const tracing = stack.use(await startTracing(config.tracing, identity, log));
  const store = stack.use(
    await openStore({ directory: config.stateDirectory, quotaBytes: config.store.quotaBytes }),
  );
  for (const holder of store.holders()) if (holder.startsWith(STAGING_HOLDER_PREFIX)) store.unpin(holder);
  const upstream = await upstreamOptions(config);
  const client = stack.use(createRegistryClient(upstream));
  const fileClient = stack.use(createFileClient(upstream, config.files));
  const swarm = await joinSwarm(config, { store, log, tracing });
  if (swarm !== undefined) stack.use(swarm);
  const memory = stack.use(new FileMemory(join(config.stateDirectory, 'files.sqlite')));
  const content = stack.use(createContent({}, { store, client, swarm }));
  collectLessOften();
  stack.use(releaseMemoryWhenIdle());
  const files = new Files({ client: fileClient, content, store, memory, swarm, log });
  const native = stack.use(nativeHelper(config.native.socket));
  const catalogue = stack.use(new Catalogue(join(config.stateDirectory, 'snapshots.sqlite')));
  const builderKey = await loadKey(
    join(config.stateDirectory, 'keys', 'builder.pem'),
    'snapshots signed by the old one stay valid where its public key is trusted',
  );
  const builderPublicKey = createPublicKey(builderKey);

  const images = new Images(
    { tagMaxAgeMs: config.mirror.tagMaxAgeMs },
    { registry: client, catalogue, store, log },
  );
  const filler = stack.use(
    new Filler(
      { readDeadlineMs: config.native.readDeadlineMs - FILL_MARGIN_MS },
      {
        native,
        lanes: Array.from({ length: availableParallelism() }, () =>
          stack.use(nativeHelper(config.native.socket, { expected: true })),
        ),
        content,
        isWhole: (device) => store.has(device, 'volume'),
        find: (device) => findDevice(catalogue, device),
        log,
      },
    ),
  );
  const completion = stack.use(
    new Completion(config.volumes, {
      filler,
      native,
      log,
      retire: (snapshot, signal) => volumes.retire(snapshot, { signal }),
    }),
  );
  const { backend, backing } = config.native;
  const volumes: Volumes = new Volumes(
    { backend, backing },
    { native, store, filler, completion, log, find: (volume) => findVolume(catalogue, volume) },
  );
  const traces = stack.use(
    new Traces(join(config.stateDirectory, 'traces.sqlite'), { maxBytes: TRACES_BYTES }),
  );
  const cluster = swarm?.snapshots;
  const learned = new LearnedStarts(traces, cluster);
  const announcer =
    cluster === undefined ? undefined : stack.use(new Announcer({ cluster, catalogue, content, store, log }));
  announcer?.start();
  const acquirer = new Acquirer(
    {
      blockBytes: config.snapshots.blockBytes,
      limits: buildLimits(config),
      stallTimeoutMs: config.snapshots.stallTimeoutMs,
      useRegistry: config.snapshots.useRegistry,
      buildUponEarlier: config.snapshots.buildUponEarlier,
      builderKey,
      trustedKeys: [builderPublicKey, ...config.snapshots.trustedBuilders.map(decodePublicKey)],
      trustCluster: config.snapshots.trustCluster,
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
      builds: swarm?.names,
    },
  );
  if (config.snapshots.rearrange) {
    const options = {
      delayMs: config.snapshots.rearrangeDelayMs,
      stallTimeoutMs: config.snapshots.stallTimeoutMs,
      builderKey,
    };
    stack.use(new Rearranger(options, { store, log, catalogue, learned, volumes, announcer })).start();
  }
  const tracer = stack.use(new StartTracer({ traceMs: traceMs(config) }, { native, filler, learned, log }));
  const snapshots = new SnapshotService({
    images,
    acquirer,
    catalogue,
    volumes,
    store,
    learned,
    started: (start) => swarm?.figures.started(start),
    tracer,
    filesIn: (record, ranges, call) => tracedFiles(record, ranges, store, call),
    filler,
    verify: (record, work) => verifySnapshot(record, store, work),
    flatten: (record, call) => flatten(record, store, call.signal),
  });
  const pull = (request: PullRequest, work: Work, options?: PullOptions) =>
    pullImage(request, { client, content, store, images }, work, options);
  const measurements = stack.use(
    new Measurements(config.measurements, { store, images, snapshots, pull, log }),
  );
  // Before the supernode can have one of them done again.
  await measurements.takeOver();
  if (swarm !== undefined) {
    swarm.figures.upstreamBytes = () => content.traffic.upstreamBytes;
    const modules = {
      images,
      snapshots,
      pull,
      get: (request: GetRequest, work: Work) => files.get(request, work),
      evict: (digest: Digest) => evict(digest, { store }),
      evictImage: (image: string, platform: string | undefined, work: Work) =>
        evictImage(image, platform, { store, snapshots, images }, work),
    };
    const tasks = stack.use(
      new HostTasks({
        work: (task, work, id) =>
          doTask(task, { ...modules, measure: (request) => measurements.measure(id, request, work) }, work),
        release: (id) => measurements.release(id),
        report: (report) => swarm.tasks.report(report),
        entrust: (image, credential) => client.entrust(image, credential),
        ...{ log, tracing },
      }),
    );
    swarm.tasks.serve(tasks);
  }
  const mirror = stack.use(await serveMirror(config.mirror, { content, store, client, log, tracing }));

  const metrics =
    config.metrics.port === null
      ? undefined
      : stack.use(
          await serveMetrics(
            config.metrics.address,
            config.metrics.port,
            createDaemonMetrics(() => figuresOf({ store, content, swarm, filler, catalogue })),
          ),
        );

  const status = async (): Promise<DaemonStatus> => ({
    version: packageDocument.version,
    pid: process.pid,
    uid: process.getuid?.() ?? 0,
    stateDirectory: config.stateDirectory,
    uptimeMs: performance.now() - startedMs,
    mirrorUrl: mirror.url,
    snapshotterSocket: config.containerd.snapshotterSocket,
    builderPublicKey: encodePublicKey(builderPublicKey),
    store: usageOf(store),
    metricsPort: metrics?.port ?? null,
    traffic: { upstreamBytes: content.traffic.upstreamBytes, downloads: content.downloads },
    swarm: swarm?.status() ?? null,
    ...(await askHelper(native)),
  });
  // Before anybody can ask for a start, which would look like one that an earlier daemon has left.
  await takeOver(volumes, native, log, options.signal);
  filler.start();
  const { snapshotterSocket: socket, buildSnapshots, buildDelayMs: delayMs } = config.containerd;
  if (socket !== null) {
    const { serveSnapshotter } = await import('./containerd/index.ts');
    const { stateDirectory } = config;
    const buildDelayMs = buildSnapshots ? delayMs : undefined;
    const slow = stack.use(nativeHelper(config.native.socket));
    const helpers = { quick: native, slow };
    const firstPull = async (name: string, work: Work) => {
      if (swarm === undefined) return false;
      const image = await images.resolve(name, undefined, work);
      const { manifest } = await images.manifest(image, work);
      const sizeBytes = manifest.layers.reduce((sum, { size }) => sum + size, 0);
      return swarm.tasks.firstPull(name, formatPlatform(image.platform), sizeBytes);
    };
    stack.use(
      await serveSnapshotter(
        { socket, stateDirectory, buildDelayMs },
        { native: helpers, snapshots, firstPull, log, tracing },
      ),
    );
  }
  stack.use(
    await serveAdmin(join(config.stateDirectory, ADMIN_SOCKET_NAME), {
      snapshots,
      files,
      ...{ log, tracing },
      status,
      blobs: () => blobSummaries(store, memory),
      pull,
    }),
  );
  const swarmPorts = swarm?.status();
  log.info(
    {
      mirror: mirror.url,
      metricsPort: metrics?.port ?? null,
      controlPort: swarmPorts?.controlPort ?? null,
      dataPort: swarmPorts?.dataPort ?? null,
      stateDirectory: config.stateDirectory,
    },
    'ready',
  );
  // A daemon that could not start leaves no member behind.
  swarm?.join();
  const running = stack.move();
  return {
    status,
    starts: () => volumes.starts(),
    unmountAll: () => volumes.unmountAll(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function joinSwarm(
  { swarm, stateDirectory }: Config,
  modules: Omit<SwarmPeerModules, 'key'>,
): Promise<SwarmPeer | undefined> {
  const supernodes = await supernodesOf(swarm);
  if (supernodes.length === 0) return undefined;
  const {
    supernode: _,
    supernodeFile,
    joinTokenFile,
    uploadSlots,
    uploadRate,
    downloadRate,
    ...rest
  } = swarm;
  const { inFlightBytes, memoryBytes, upstreamRate: __, ...host } = rest;
  const key = await loadKey(
    join(stateDirectory, 'keys', 'peer.pem'),
    'the cluster then takes this host for a new one, which needs a join token',
  );
  const joinToken =
    swarm.joinToken ??
    (joinTokenFile === null ? null : await readSecret(joinTokenFile, 'swarm.joinTokenFile'));
  const limits = { uploadSlots, uploadRate, downloadRate, inFlightBytes, memoryBytes };
  const supernodesNow = supernodeFile === null ? undefined : () => supernodesOf(swarm);
  const { startSwarmPeer } = await import('./swarm/index.ts');
  const peer = await startSwarmPeer(
    { ...host, stateDirectory, supernodes, supernodesNow, joinToken, limits },
    { ...modules, key },
  );
  modules.store.onRemoved((content) => peer.forget(content));
  return peer;
}

/** @throws `invalid_argument` for a file that can’t be read */
async function supernodesOf({ supernode, supernodeFile }: Config['swarm']): Promise<string[]> {
  if (supernode !== null) return [supernode].flat();
  if (supernodeFile === null) return [];
  const lines = (await readSecret(supernodeFile, 'swarm.supernodeFile')).split('\n');
  return lines.map((line) => line.trim()).filter((line) => line !== '');
}

/** Brings pins and leftovers of an earlier daemon in order, and says at once what this machine can't do. */
async function takeOver(
  volumes: Volumes,
  native: NativeHelper,
  log: Logger,
  signal?: AbortSignal,
): Promise<void> {
  try {
    const probe = await native.probe({ signal });
    if (!probe.erofs.works) {
      log.error(
        { kernel: probe.kernel, reason: probe.erofs.reason },
        'this kernel can’t mount EROFS: see `drakkar doctor`',
      );
    }
    await volumes.takeOver({ signal });
  } catch (error) {
    log.warn(
      { error },
      'without the native helper nothing can be mounted; pulls, builds and the mirror work',
    );
  }
}

async function askHelper(native: NativeHelper): Promise<Pick<DaemonStatus, 'native' | 'nativeError'>> {
  try {
    return { native: await native.probe(), nativeError: null };
  } catch (cause) {
    return { native: null, nativeError: toDrakkarError(cause).toJSON() };
  }
}

function usageOf(store: Store): DaemonStatus['store'] {
  const { quotaBytes, contentBytes, reservedBytes } = store.usage();
  return { quotaBytes, usedBytes: contentBytes + reservedBytes };
}

function figuresOf({
  store,
  content,
  swarm,
  filler,
  catalogue,
}: {
  store: Store;
  content: Content;
  swarm: SwarmPeer | undefined;
  filler: Filler;
  catalogue: Catalogue;
}): DaemonFigures {
  const { quotaBytes, usedBytes } = usageOf(store);
  const peer = swarm?.status();
  const { wishedBlocks, filledBlocks, refusedBlocks } = filler.counts;
  return {
    ...snapshotFigures(catalogue, store),
    blocksWished: wishedBlocks,
    blocksFilled: filledBlocks,
    blocksRefused: refusedBlocks,
    storeUsedBytes: usedBytes,
    storeQuotaBytes: quotaBytes,
    storeContents: store.list().length,
    upstreamBytes: content.traffic.upstreamBytes,
    downloads: content.downloads,
    swarmSentBytes: peer?.sentBytes ?? 0,
    swarmReceivedBytes: peer?.receivedBytes ?? 0,
    swarmUploads: peer?.uploads ?? 0,
    swarmExchanges: peer?.exchanges ?? 0,
    supernodeUp: peer?.supernode.up === true ? 1 : 0,
  };
}

function blobSummaries(store: Store, memory: FileMemory): BlobSummary[] {
  const shown = memory.shown();
  return store
    .list()
    .map(({ digest, kind, sizeBytes, presentBytes, complete, holders, lastUseMs, origins }) => ({
      digest,
      from: shown.get(digest) ?? origins[0] ?? null,
      kind,
      sizeBytes,
      presentBytes,
      complete,
      pins: holders,
      lastUsedAtMs: lastUseMs,
    }))
    .sort((a, b) => a.lastUsedAtMs - b.lastUsedAtMs);
}

async function flatten(
  record: SnapshotRecord,
  store: Store,
  signal = new AbortController().signal,
): Promise<FlatStream> {
  const { meta, devices } = record.config;
  const holder = STAGING_HOLDER_PREFIX + randomUUID();
  for (const { rawDigest } of [meta, ...devices]) store.pin(rawDigest, holder);
  try {
    await store.verify([meta, ...devices].map(({ rawDigest }) => rawDigest));
    const metaPath = store.pathOf(meta.rawDigest);
    const devicePaths = devices.map(({ rawDigest }) => store.pathOf(rawDigest));
    const image = await streamFlat({ metaPath, devicePaths }, { signal });
    image.bytes.once('close', () => store.unpin(holder));
    return image;
  } catch (error) {
    store.unpin(holder);
    throw error;
  }
}

/** How long what a start reads is taken down. */
function traceMs({ volumes: { background, backgroundDelayMs } }: Config): number {
  if (background === 'off') return LONGEST_TRACE_MS;
  return Math.min(LONGEST_TRACE_MS, Math.max(0, backgroundDelayMs - BEFORE_COMPLETION_MS));
}

function buildLimits({ snapshots }: Config): { entries: number; totalBytes: number; fileBytes: number } {
  return {
    entries: snapshots.maxEntries,
    totalBytes: snapshots.maxRawBytes,
    fileBytes: snapshots.maxFileBytes,
  };
}

async function upstreamOptions({
  registries,
  swarm,
  tracing,
}: Config): Promise<Parameters<typeof createRegistryClient>[0]> {
  const { credentials, dockerConfigFile, ...rest } = registries;
  const stored: Record<string, RegistryCredential> = {};
  for (const { registry, username, password, passwordFile } of credentials) {
    stored[registry] = {
      username,
      password: password ?? (await readSecret(passwordFile, 'registries.credentials')),
    };
  }
  const home = dockerConfigFile?.replace(/^~(?=\/)/, homedir()) ?? null;
  return {
    ...rest,
    credentials: stored,
    dockerConfigFile: home,
    bytesPerSecond: swarm.upstreamRate,
    tellsTrace: tracing.tellUpstream,
  };
}

async function readSecret(file = '', setting: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new DrakkarError('invalid_argument', `the file ${file} cannot be read`, {
      hint: `correct ${setting}, or let the daemon’s user read the file`,
      cause,
    });
  }
}
