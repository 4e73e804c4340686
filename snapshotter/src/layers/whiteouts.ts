import type { Place } from './place.ts';
import { showBytes } from './place.ts';
import type { DeviceNode, Inode } from './tree.ts';

/** How an OCI layer says that something of the layers below is gone. Source: image-spec layer.md, "Whiteouts". */
const PREFIX = '.wh.';
const OPAQUE = '.wh..wh..opq';

export type Whiteout = { readonly kind: 'opaque' } | { readonly kind: 'name'; readonly hides: string };

/** What a name means; `undefined` for an ordinary one. @throws `invalid_content` when it would hide `.` or `..` */
export function whiteoutOf(name: string, place: Place): Whiteout | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  if (name === OPAQUE) return { kind: 'opaque' };
  const hides = name.slice(PREFIX.length);
  if (hides === '' || hides === '.' || hides === '..')
    throw place.invalid(`${showBytes(name)} is a whiteout of nothing`);
  return { kind: 'name', hides };
}

/** Shared by all whiteouts: an overlay's own form, a character device 0:0. */
export const WHITEOUT: DeviceNode = {
  kind: 'character',
  major: 0,
  minor: 0,
  mode: 0,
  uid: 0,
  gid: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  xattrs: undefined,
};

/** Also true for a device 0:0 that a layer brings itself: to an overlay it is the same. */
export function isWhiteout(node: Inode | undefined): boolean {
  return node?.kind === 'character' && node.major === 0 && node.minor === 0;
}
