import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError, EROFS_BLOCK_BYTES, MAX_DEVICES, type Trace } from '@drakkar/protocol';
import { readFully, type StagedFile, VolumeFileWriter, type VolumeFileWriterOptions } from '../blob/index.ts';
import type { Directory } from '../layers/index.ts';
import { moveToStart, planStart, type StartPart } from './start-plan.ts';

/** Read from a device at a time. */
const MAX_READ_BLOCKS = (4 * 1024 * 1024) / EROFS_BLOCK_BYTES;

export interface StartDeviceOptions extends Omit<VolumeFileWriterOptions, 'basePath'> {
  readonly outputDir: string;
  /** Slots that are taken. */
  readonly devices: number;
  /** Raw files of the devices whose parts may lie on the start device as well, by slot. */
  readonly rawPaths: ReadonlyMap<number, string>;
}

export interface ArrangedStart {
  /** The start device; its slot is the next one. Nothing where there is nothing to lie on it, or no slot left. */
  readonly staged: StagedFile | undefined;
  /** What starts read, in that order, where it lies now. */
  readonly prefetch: Trace;
}

/**
 * Gathers what starts read of a snapshot on a device of its own, in the order in which they read it, so that they fetch one contiguous part and
 * nothing that lies beside. Those parts are stored twice: where they were they stay, since other snapshots refer to them there. The files of
 * the tree refer to the start device afterwards.
 *
 * @param reads ranges of the tree's devices
 */
export async function arrangeStart(
  root: Directory,
  reads: Trace,
  { outputDir, devices: slot, rawPaths, ...options }: StartDeviceOptions,
): Promise<ArrangedStart> {
  const hasRoom = slot < MAX_DEVICES;
  const plan = planStart(root, reads, { slot, mayMove: (device) => hasRoom && rawPaths.has(device) });
  if (plan.parts.length === 0) return { staged: undefined, prefetch: plan.prefetch };
  const writer = await VolumeFileWriter.create({ ...options, basePath: join(outputDir, 'start') });
  for await (const bytes of readParts(plan.parts, rawPaths)) {
    writer.append(bytes);
    await writer.ready();
  }
  moveToStart(root, plan.parts, slot);
  return { staged: await writer.finish(), prefetch: plan.prefetch };
}

async function* readParts(
  parts: readonly StartPart[],
  rawPaths: ReadonlyMap<number, string>,
): AsyncGenerator<Buffer, void, undefined> {
  const files = new Map<number, FileHandle>();
  try {
    for (const { device, startBlock, blocks } of joined(parts)) {
      const file = files.get(device) ?? (await open(rawPaths.get(device) ?? ''));
      files.set(device, file);
      const bytes = Buffer.allocUnsafe(blocks * EROFS_BLOCK_BYTES);
      if ((await readFully(file, bytes, startBlock * EROFS_BLOCK_BYTES)) !== bytes.length)
        throw new DrakkarError('invalid_content', 'a device ends before what starts read of it');
      yield bytes;
    }
  } finally {
    await Promise.all([...files.values()].map((file) => file.close()));
  }
}

function* joined(parts: readonly StartPart[]): Generator<StartPart, void, undefined> {
  let last: StartPart | undefined;
  for (const part of parts) {
    const isBehind =
      last?.device === part.device &&
      last.startBlock + last.blocks === part.startBlock &&
      last.blocks + part.blocks <= MAX_READ_BLOCKS;
    if (last !== undefined && !isBehind) yield last;
    last = last !== undefined && isBehind ? { ...last, blocks: last.blocks + part.blocks } : part;
  }
  if (last !== undefined) yield last;
}
