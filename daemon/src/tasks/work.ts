import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetRequest, GetResult, PullRequest, PullResult, Receipt } from '@drakkar/client';
import {
  type Digest,
  DrakkarError,
  digestFromHex,
  digestFromRaw,
  formatPlatform,
  rawOf,
  type TaskMessage,
  type TaskResultMessageSchema,
} from '@drakkar/protocol';
import type { Measured, MeasurementRequest } from '../measurements/index.ts';
import type { Acquired, Images, SnapshotService, Work } from '../snapshots/index.ts';

/** One of the things that a supernode may have a host do. */
export type TaskWork = Exclude<TaskMessage['work'], { readonly case: undefined }>;
export type TaskOutcome = MessageInitShape<typeof TaskResultMessageSchema>;

type ImageMessage = Extract<TaskWork, { readonly case: 'pull' }>['value']['image'];

/** What this host can do for the cluster. */
export interface TaskModules {
  readonly images: Pick<Images, 'resolve' | 'manifest'>;
  readonly snapshots: Pick<SnapshotService, 'build' | 'fetch'>;
  pull(request: PullRequest, work: Work): Promise<PullResult>;
  get(request: GetRequest, work: Work): Promise<GetResult>;
  measure(request: MeasurementRequest, work: Work): Promise<Measured>;
  evictImage(image: string, platform: string | undefined, work: Work): Promise<number>;
  /** @returns bytes that were given back */
  evict(digest: Digest): number;
}

/** Does one task, and says what came of it. */
export async function doTask(task: TaskWork, modules: TaskModules, work: Work): Promise<TaskOutcome> {
  switch (task.case) {
    case 'resolve':
      return await resolve(choiceOf(task.value.image), modules, work);
    case 'build': {
      const { push, rebuild } = task.value;
      return built(await modules.snapshots.build({ ...choiceOf(task.value.image), push, rebuild }, work));
    }
    case 'snapshot': {
      const extent = task.value.whole ? 'whole' : 'start';
      return built(await modules.snapshots.fetch(choiceOf(task.value.image), extent, work));
    }
    case 'pull': {
      const { sizeBytes, manifestDigest, receipt } = await modules.pull(choiceOf(task.value.image), work);
      return { ...bytesOf(sizeBytes, receipt), manifest: rawOf(manifestDigest) };
    }
    case 'get': {
      const { url, sha256 } = task.value;
      const { sizeBytes, digest, receipt } = await modules.get(
        { url, ...(sha256 === '' ? {} : { sha256: digestFromHex(sha256).slice('sha256:'.length) }) },
        work,
      );
      return { ...bytesOf(sizeBytes, receipt), ...(digest === null ? {} : { digest: rawOf(digest) }) };
    }
    case 'measure': {
      const { start, warm, rate, mostBytes, withinMs } = task.value;
      const request = {
        ...choiceOf(task.value.image),
        what: start ? 'start' : 'pull',
        warm,
        bytesPerSecond: rate === 0n ? null : Number(rate),
        mostBytes: mostBytes === 0n ? null : Number(mostBytes),
        withinMs: withinMs === 0n ? null : Number(withinMs),
      } as const;
      return measured(await modules.measure(request, work));
    }
    case 'evict': {
      const { image, digest } = task.value;
      if (image === undefined) return { sizeBytes: BigInt(modules.evict(digestFromRaw(digest))) };
      const choice = choiceOf(image);
      return { sizeBytes: BigInt(await modules.evictImage(choice.image, choice.platform, work)) };
    }
  }
}

async function resolve(
  { image: name, platform }: { image: string; platform?: string },
  { images }: TaskModules,
  work: Work,
): Promise<TaskOutcome> {
  const image = await images.resolve(name, platform, work);
  const { manifestDigest, manifest } = await images.manifest(image, work);
  const layers = manifest.layers.map(({ digest, size }) => ({
    digest: rawOf(digest),
    sizeBytes: BigInt(size),
  }));
  return {
    root: rawOf(image.rootDigest),
    manifest: rawOf(manifestDigest),
    platform: formatPlatform(image.platform),
    layers,
    sizeBytes: layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n),
  };
}

function built(result: Acquired): TaskOutcome {
  const { manifestDigest, platform, blobSizeBytes, found, receipt, layout } = result;
  return {
    ...bytesOf(blobSizeBytes, receipt),
    manifest: rawOf(manifestDigest),
    platform,
    found,
    layout: rawOf(layout),
  };
}

function measured({
  sizeBytes,
  hereBytes,
  elapsedMs,
  mountedMs,
  manifestDigest,
  receipt,
}: Measured): TaskOutcome {
  const { firstByteMs, discardedBytes, storeBytes, joinedBytes } = receipt;
  return {
    ...bytesOf(sizeBytes, receipt),
    manifest: rawOf(manifestDigest),
    measured: {
      elapsedMs,
      firstByteMs: firstByteMs ?? 0,
      mountedMs: mountedMs ?? 0,
      hereBytes: BigInt(hereBytes),
      storeBytes: BigInt(storeBytes),
      joinedBytes: BigInt(joinedBytes),
      discardedBytes: BigInt(discardedBytes),
    },
  };
}

function bytesOf(sizeBytes: number, { upstreamBytes, peerBytes, storeBytes }: Receipt) {
  return {
    sizeBytes: BigInt(sizeBytes),
    upstreamBytes: BigInt(upstreamBytes),
    peerBytes: BigInt(peerBytes),
    storeBytes: BigInt(storeBytes),
  };
}

function choiceOf(image: ImageMessage): { image: string; platform?: string } {
  if (image === undefined) throw new DrakkarError('invalid_argument', 'the task names no image');
  const { reference, platform } = image;
  return { image: reference, ...(platform === '' ? {} : { platform }) };
}
