import { DrakkarError } from '@drakkar/protocol';
import type { Owner } from './contract.ts';
import type { Labels } from './metadata.ts';

/** By which containerd says that a snapshot is for a user namespace: `INSIDE:HOST:SIZE` of each range. Source: core/snapshots/snapshotter.go there. */
const UID_LABEL = 'containerd.io/snapshot/uidmapping';
const GID_LABEL = 'containerd.io/snapshot/gidmapping';

/** Of a 32-bit number without the last, which is no id. Source: user_namespaces(7). */
const MAX_ID = 2 ** 32 - 2;
/** Source: user_namespaces(7). */
const MAX_RANGES = 340;

/** How a snapshot's files are owned within a user namespace. */
export interface IdMaps {
  /** Of its root, on the host. */
  readonly owner: Owner;
  /** By which containerd maps what it mounts. */
  readonly options: readonly string[];
}

/** @throws `invalid_argument` for labels that are no maps, or that give nobody for root */
export function idMapsOf(labels: Labels): IdMaps | undefined {
  const { [UID_LABEL]: uids, [GID_LABEL]: gids } = labels;
  if (uids === undefined && gids === undefined) return undefined;
  return {
    owner: { uid: rootOf(uids, UID_LABEL), gid: rootOf(gids, GID_LABEL) },
    options: [
      ...(uids === undefined ? [] : [`uidmap=${uids}`]),
      ...(gids === undefined ? [] : [`gidmap=${gids}`]),
    ],
  };
}

/** Who root inside is on the host. */
function rootOf(map: string | undefined, label: string): number {
  if (map === undefined) return 0;
  const ranges = map
    .split(',', MAX_RANGES + 1)
    .map((range) => /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(range));
  const isValid = ranges.length <= MAX_RANGES && ranges.every((range) => range !== null && hasIds(range));
  const root = ranges.find((range) => range?.[1] === '0');
  if (!isValid || root === undefined)
    throw new DrakkarError(
      'invalid_argument',
      `${label} is no map of ids with a root: ${JSON.stringify(map.slice(0, 100))}`,
    );
  return Number(root?.[2]);
}

function hasIds([, inside, host, size]: RegExpExecArray): boolean {
  const count = Number(size);
  return count > 0 && [inside, host].every((first) => Number(first) + count - 1 <= MAX_ID);
}
