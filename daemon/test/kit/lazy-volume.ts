import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import type { BlockSource, MountVolume, NativeHelper, Wish } from '@drakkar/daemon';
import { type Digest, digestOf, hexOf } from '@drakkar/protocol';

/** A volume whose device is not here, and everything that it is made of. */
export interface LazyVolume {
  readonly mount: Omit<MountVolume, 'volume' | 'backend'>;
  readonly device: Digest;
  readonly blob: Digest;
  readonly blocks: readonly BlockSource[];
  /** By name, in the volume's root. */
  readonly files: ReadonlyMap<string, Buffer>;
}

export interface LazyVolumeOptions {
  /** So many random ones, or these: volumes of the same files share a device. */
  readonly files?: number | ReadonlyMap<string, Buffer>;
  readonly fileBytes?: number;
  readonly blockBytes?: number;
}

/** Makes one of files that may be executed, with its blob in `blobs` and a sparse device in `content`. */
export function lazyVolume(content: string, blobs: string, options: LazyVolumeOptions = {}): LazyVolume {
  const { files: wanted = 8, fileBytes = 1024 * 1024, blockBytes = 64 * 1024 } = options;
  const work = join(content, `lazy-source-${randomBytes(4).toString('hex')}`);
  mkdirSync(work, { recursive: true });
  const files = typeof wanted === 'number' ? randomFiles(wanted, fileBytes) : wanted;
  for (const [name, bytes] of files) writeFileSync(join(work, name), bytes, { mode: 0o755 });
  const [meta, raw] = [`${work}.meta`, `${work}.raw`];
  execFileSync('mkfs.erofs', ['--quiet', '--chunksize=4096', `--blobdev=${raw}`, meta, work]);
  rmSync(work, { recursive: true });
  for (const path of [meta, raw]) truncateSync(path, Math.ceil(statSync(path).size / 4096) * 4096);
  const metaDigest = digestOf(readFileSync(meta));
  renameSync(meta, join(content, hexOf(metaDigest)));
  const bytes = readFileSync(raw);
  rmSync(raw);
  const device = digestOf(bytes);
  const descriptor = openSync(join(content, hexOf(device)), 'a');
  ftruncateSync(descriptor, bytes.length);
  closeSync(descriptor);
  const blocks: BlockSource[] = [];
  const frames: Buffer[] = [];
  let offset = 0;
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const frame = zstdCompressSync(bytes.subarray(at, at + blockBytes));
    blocks.push({ block: blocks.length, offset, length: frame.length });
    frames.push(frame);
    offset += frame.length;
  }
  const blobBytes = Buffer.concat(frames);
  const blob = digestOf(blobBytes);
  mkdirSync(join(blobs, hexOf(blob).slice(0, 2)), { recursive: true });
  writeFileSync(join(blobs, hexOf(blob).slice(0, 2), hexOf(blob)), blobBytes);
  const devices = [{ digest: device, sizeBytes: bytes.length, complete: false }];
  return { mount: { meta: metaDigest, devices, blockBytes, backing: 'auto' }, device, blob, blocks, files };
}

/** Half of each is random, half says which file it is. */
export function randomFiles(count: number, fileBytes: number): Map<string, Buffer> {
  const bytesOf = (index: number) =>
    Buffer.concat([randomBytes(fileBytes / 2), Buffer.alloc(fileBytes / 2, `file ${index} `)]);
  return new Map(Array.from({ length: count }, (_, index) => [`file-${index}`, bytesOf(index)]));
}

/** Does the daemon's part: brings what readers wait for, when `when` says so. Ends with the signal. */
export async function feed(
  helper: NativeHelper,
  volumes: readonly LazyVolume[],
  signal: AbortSignal,
  when: (wish: Wish) => Promise<void> = async () => {},
): Promise<void> {
  const answer = async (wish: Wish) => {
    await when(wish);
    const volume = volumes.find(({ device }) => device === wish.device);
    if (volume === undefined || signal.aborted) return;
    const blocks = wish.blocks.flatMap((block) => volume.blocks[block] ?? []);
    await helper.fillDevice({ device: wish.device, blob: volume.blob, blocks });
  };
  while (!signal.aborted) {
    await helper.listen((wish) => void answer(wish).catch(() => {}), signal).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
