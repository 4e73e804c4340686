import { createHash } from 'node:crypto';
import type { Tree, TreeEntry } from '@drakkar/lab';
import {
  type ContentSink,
  type ContentWriter,
  type Directory,
  EMPTY_CONTENT,
  type FileContent,
  type Inode,
  LayerStack,
  type LayerStackOptions,
} from '../../../src/layers/index.ts';

/** Sparse enough for tests: holes longer than this would be written out. */
const MAX_HASHED_BYTES = 64 * 1024 * 1024;

/** Keeps of each file what a comparison needs: the digest of its content, holes read as zeros. */
export class HashingSink implements ContentSink {
  readonly #digests = new Map<FileContent, string>();

  begin(sizeBytes: number): ContentWriter {
    if (sizeBytes > MAX_HASHED_BYTES) throw new RangeError('too large for a test');
    const hash = createHash('sha256');
    let at = 0;
    const fill = (to: number): void => {
      if (to < at) throw new Error('offsets go back');
      hash.update(Buffer.alloc(to - at));
      at = to;
    };
    return {
      write: (offset, bytes) => {
        fill(offset);
        hash.update(bytes);
        at += bytes.length;
        return undefined;
      },
      end: () => {
        fill(sizeBytes);
        const content: FileContent = { sizeBytes, chunkBits: 12, runs: [] };
        this.#digests.set(content, hash.digest('hex'));
        return content;
      },
    };
  }

  digestOf(content: FileContent): string {
    if (content === EMPTY_CONTENT) return createHash('sha256').digest('hex');
    const digest = this.#digests.get(content);
    if (digest === undefined) throw new Error('a content that this sink did not make');
    return digest;
  }
}

/** A merged tree in the form in which the lab compares trees. */
export function treeOf(root: Directory, sink: HashingSink): Tree {
  const tree = new Map<string, TreeEntry>();
  const groups = new Map<Inode, string>();
  const visit = (path: string, inode: Inode): void => {
    if (!groups.has(inode)) groups.set(inode, path);
    tree.set(path, {
      type: inode.kind,
      mode: inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      sizeBytes:
        inode.kind === 'file' ? inode.content.sizeBytes : inode.kind === 'symlink' ? inode.target.length : 0,
      mtimeNanoseconds: BigInt(inode.mtimeSeconds) * 1_000_000_000n + BigInt(inode.mtimeNanoseconds),
      device:
        inode.kind === 'character' || inode.kind === 'block' ? `${inode.major}:${inode.minor}` : undefined,
      linkTarget: inode.kind === 'symlink' ? inode.target : undefined,
      linkGroup: groups.get(inode) ?? path,
      xattrs: new Map(
        [...(inode.xattrs ?? [])].map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
      ),
      sha256: inode.kind === 'file' ? sink.digestOf(inode.content) : undefined,
    });
    if (inode.kind !== 'directory') return;
    for (const [name, child] of [...inode.entries].sort(([left], [right]) => (left < right ? -1 : 1)))
      visit(path === '.' ? name : `${path}/${name}`, child);
  };
  visit('.', root);
  return tree;
}

export const CREATED_SECONDS = 1_600_000_000;

/** The bytes in chunks of `chunkBytes`. */
export async function* inChunks(bytes: Uint8Array, chunkBytes = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

/** Applies uncompressed layers, named `layer 1` and so on. */
export async function mergeLayers(
  layers: readonly Uint8Array[],
  options: Partial<LayerStackOptions> & { chunkBytes?: number } = {},
): Promise<Tree> {
  const sink = new HashingSink();
  const stack = new LayerStack({ sink, createdSeconds: CREATED_SECONDS, ...options });
  for (const [index, layer] of layers.entries())
    await stack.applyLayer(`layer ${index + 1}`, inChunks(layer, options.chunkBytes));
  return treeOf(stack.root, sink);
}
