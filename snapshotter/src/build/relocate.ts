import { EROFS_BLOCK_BYTES } from '@drakkar/protocol';
import { RunList } from '../erofs/index.ts';
import type { Directory, FileContent, Inode } from '../layers/index.ts';

/** Where a chunk of a device begins now, by the block at which it began before. */
export type MovedBlocks = ReadonlyMap<number, number>;

function blocksPerChunk({ chunkBits }: FileContent): number {
  return 2 ** chunkBits / EROFS_BLOCK_BYTES;
}

/** The blocks at which a file's chunks on a device begin, in the order of the file. */
export function* chunkStarts(content: FileContent, device: number): Generator<number, void, undefined> {
  const step = blocksPerChunk(content);
  for (const run of content.runs) {
    if (run.device !== device) continue;
    for (let chunk = 0; chunk < run.chunkCount; chunk++) yield run.startBlock + chunk * step;
  }
}

/** The same content after the chunks of a device have moved. Runs may fall apart, and others may join. */
export function moveChunks(content: FileContent, device: number, moved: MovedBlocks): FileContent {
  const step = blocksPerChunk(content);
  const runs = new RunList(step);
  for (const run of content.runs) {
    for (let chunk = 0; chunk < run.chunkCount; chunk++) {
      const block = run.startBlock + chunk * step;
      const startBlock = run.device === device ? (moved.get(block) ?? block) : block;
      runs.add(run.firstChunk + chunk, run.device, startBlock);
    }
  }
  return { ...content, runs: runs.list };
}

/** Does so for all files of a tree, each once, however many names it has. */
export function moveAll(root: Directory, device: number, moved: MovedBlocks): void {
  const seen = new Set<Inode>();
  const pending: Directory[] = [root];
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    for (const inode of directory.entries.values()) {
      if (inode.kind === 'directory') pending.push(inode);
      if (inode.kind !== 'file' || !inode.content.runs.some((run) => run.device === device)) continue;
      if (!seen.has(inode)) inode.content = moveChunks(inode.content, device, moved);
      seen.add(inode);
    }
  }
}
