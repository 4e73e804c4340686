import {
  type Digest,
  DrakkarError,
  digestFromRaw,
  ERROR_CODES,
  formatReference,
  parseReference,
  type RegistryCredential,
  rawOf,
  type TaskReportMessage,
  type TaskResultMessage,
} from '@drakkar/protocol';
import { formatTraceparent } from '@drakkar/service';
import type { FromSupernodeInit } from '../control/messages.ts';
import type { Job, MeasuredWork, ResolvedImage } from './schema.ts';
import type { Step, TaskNews, TaskOutcome } from './tasks.ts';

type TaskInit = Extract<NonNullable<FromSupernodeInit['message']>, { case: 'task' }>['value'];

const MAX_LAYERS = 1_000;
const MAX_WORDS = 1_000;

/** What one host is told to do for a job. */
export function encodeTask(
  id: string,
  step: Step,
  job: Job,
  credential?: RegistryCredential,
): FromSupernodeInit {
  const traceparent = job.trace === null ? '' : formatTraceparent(job.trace);
  const value = { id, work: workOf(step, job), ...(credential === undefined ? {} : { credential }) };
  return { message: { case: 'task', value }, traceparent };
}

function workOf(step: Step, job: Job): NonNullable<TaskInit['work']> {
  const { spec } = job;
  if (spec.kind === 'get') return { case: 'get', value: { url: spec.url, sha256: spec.sha256 ?? '' } };
  if (spec.kind === 'evict') {
    const image =
      spec.image === undefined
        ? undefined
        : { reference: withRoot(spec.image, job.resolved), platform: spec.platform ?? '' };
    const digest = spec.digest === undefined ? new Uint8Array() : rawOf(spec.digest as Digest);
    return { case: 'evict', value: image === undefined ? { digest } : { image } };
  }
  if (step === 'resolve')
    return {
      case: 'resolve',
      value: { image: { reference: spec.image, platform: spec.platform ?? '' } },
    };
  const image = {
    reference: pinned(spec.image, job.resolved),
    platform: job.resolved?.platform ?? spec.platform ?? '',
  };
  if (spec.kind === 'measure') {
    const { what, warm, bytesPerSecond } = spec;
    const bounds = { mostBytes: BigInt(spec.mostBytes ?? 0), withinMs: BigInt(spec.withinMs ?? 0) };
    const rate = BigInt(bytesPerSecond ?? 0);
    return { case: 'measure', value: { image, start: what === 'start', warm, rate, ...bounds } };
  }
  if (step === 'build') {
    const { push = false, rebuild = false } = spec.kind === 'build' ? spec : {};
    return { case: 'build', value: { image, push, rebuild } };
  }
  if (spec.kind === 'preheat' && spec.content !== 'layers')
    return { case: 'snapshot', value: { image, whole: spec.content === 'snapshot' } };
  return { case: 'pull', value: { image: { ...image, platform: spec.platform ?? '' } } };
}

/** The name, and what it meant when hosts were last given it: they may not have heard of the tag. */
function withRoot(image: string, resolved: ResolvedImage | null): string {
  const reference = parseReference(image);
  return formatReference({
    ...reference,
    digest: reference.digest ?? (resolved?.root as Digest | undefined),
  });
}

/** All hosts get what the name meant when it was asked for. */
function pinned(image: string, resolved: ResolvedImage | null): string {
  const { registry, repository } = parseReference(image);
  return formatReference({
    registry,
    repository,
    tag: undefined,
    digest: resolved?.root as Digest | undefined,
  });
}

/** @throws `invalid_argument` for what no host says */
export function decodeReport(step: Step, report: TaskReportMessage): TaskNews {
  const { phase, error, result } = report;
  if (error !== undefined) {
    const code = ERROR_CODES.find((each) => each === error.code) ?? 'internal';
    const words = (text: string) => text.slice(0, MAX_WORDS);
    const hint = error.hint === '' ? {} : { hint: words(error.hint) };
    return { kind: 'failed', error: { code, message: words(error.message), ...hint } };
  }
  if (result !== undefined) return { kind: 'done', result: outcomeOf(step, result) };
  return {
    kind: 'progress',
    phase: phase.slice(0, 20),
    doneBytes: bytes(report.doneBytes),
    totalBytes: bytes(report.totalBytes),
  };
}

function outcomeOf(step: Step, result: TaskResultMessage): TaskOutcome {
  const moved = {
    sizeBytes: bytes(result.sizeBytes),
    upstreamBytes: bytes(result.upstreamBytes),
    peerBytes: bytes(result.peerBytes),
  };
  if (step === 'resolve') {
    if (result.layers.length > MAX_LAYERS)
      throw new DrakkarError('invalid_argument', 'an image of too many layers');
    return {
      ...moved,
      resolved: {
        root: digestFromRaw(result.root),
        manifest: digestFromRaw(result.manifest),
        platform: result.platform.slice(0, 255),
        layers: result.layers.map(({ digest, sizeBytes }) => ({
          digest: digestFromRaw(digest),
          sizeBytes: bytes(sizeBytes),
        })),
      },
    };
  }
  if (step === 'build') {
    const { layout, found } = result;
    const snapshot = { layout: digestFromRaw(layout), sizeBytes: moved.sizeBytes, found: found.slice(0, 20) };
    return { ...moved, snapshot };
  }
  const { measured } = result;
  return measured === undefined ? moved : { ...moved, measured: measuredOf(measured) };
}

function measuredOf(measured: NonNullable<TaskResultMessage['measured']>): MeasuredWork {
  const { elapsedMs, firstByteMs, mountedMs } = measured;
  return {
    elapsedMs: milliseconds(elapsedMs),
    firstByteMs: firstByteMs === 0 ? null : milliseconds(firstByteMs),
    mountedMs: mountedMs === 0 ? null : milliseconds(mountedMs),
    hereBytes: bytes(measured.hereBytes),
    storeBytes: bytes(measured.storeBytes),
    joinedBytes: bytes(measured.joinedBytes),
    discardedBytes: bytes(measured.discardedBytes),
  };
}

/** Nothing takes longer. */
const MOST_MS = 7 * 24 * 60 * 60_000;

const milliseconds = (number: number): number => (number >= 0 ? Math.min(number, MOST_MS) : MOST_MS);

/** More than anybody has: sums of what thousands of hosts say stay exact. */
const MOST_BYTES = 2n ** 39n;

const bytes = (number: bigint): number => Number(number < MOST_BYTES ? number : MOST_BYTES);
