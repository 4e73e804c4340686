import { hash } from 'node:crypto';

/**
 * A binary tree of sha256 hashes: who knows the root can be shown that something is a leaf by the hashes beside its way up. Leaves and
 * inner nodes begin with different bytes, so that none passes for the other; a node without a neighbour moves up as it is.
 * Source: RFC 6962, section 2.1.
 */
export interface HashTree {
  readonly root: Buffer;
  /** Of each leaf: what stands beside its way to the root, from the bottom up. */
  readonly paths: readonly Buffer[];
}

const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);
const HASH_BYTES = 32;
/** A hash, and before it on which side of the way it stands: 0 left, 1 right. */
const STEP_BYTES = 1 + HASH_BYTES;
/** More leaves than anybody signs at a time. */
const MAX_STEPS = 20;

const leafOf = (content: Uint8Array): Buffer => sha256(LEAF, content);
const nodeOf = (left: Uint8Array, right: Uint8Array): Buffer => sha256(NODE, left, right);
const sha256 = (...parts: readonly Uint8Array[]): Buffer => hash('sha256', Buffer.concat(parts), 'buffer');

/** @param contents at least one, at most 2^20 */
export function hashTree(contents: readonly Uint8Array[]): HashTree {
  let level = contents.map((content, index) => ({ hash: leafOf(content), leaves: [index] }));
  const steps: Buffer[][] = contents.map(() => []);
  while (level.length > 1) {
    const above: typeof level = [];
    for (let index = 0; index < level.length; index += 2) {
      const [left, right] = [level[index], level[index + 1]];
      if (left === undefined) break;
      if (right === undefined) {
        above.push(left);
        continue;
      }
      for (const leaf of left.leaves) steps[leaf]?.push(Buffer.of(1), right.hash);
      for (const leaf of right.leaves) steps[leaf]?.push(Buffer.of(0), left.hash);
      above.push({ hash: nodeOf(left.hash, right.hash), leaves: [...left.leaves, ...right.leaves] });
    }
    level = above;
  }
  const [top] = level;
  if (top === undefined) throw new RangeError('a tree without leaves');
  return { root: top.hash, paths: steps.map((parts) => Buffer.concat(parts)) };
}

/** @returns the root of the tree in which the content is a leaf with this path; `undefined` for what is no path */
export function rootOf(content: Uint8Array, path: Uint8Array): Buffer | undefined {
  if (path.length % STEP_BYTES !== 0 || path.length > MAX_STEPS * STEP_BYTES) return undefined;
  let root = leafOf(content);
  for (let at = 0; at < path.length; at += STEP_BYTES) {
    const beside = path.subarray(at + 1, at + STEP_BYTES);
    if (path[at] === 0) root = nodeOf(beside, root);
    else if (path[at] === 1) root = nodeOf(root, beside);
    else return undefined;
  }
  return root;
}
