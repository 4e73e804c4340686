import type { Directories } from './contract.ts';
import type { Kind } from './metadata.ts';

/** What containerd is to mount. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/**
 * How a snapshot is seen: one directory alone is bound, several are laid over each other. Options are those of containerd's own overlayfs
 * snapshotter. Source: plugins/snapshots/overlay/overlay.go.
 */
export function mountsOf(kind: Kind, { upperdir, workdir, lowerdirs }: Directories): Mount[] {
  const [nearest] = lowerdirs;
  if (nearest === undefined) return [bind(upperdir, kind === 'view' ? 'ro' : 'rw')];
  if (kind === 'view' && lowerdirs.length === 1) return [bind(nearest, 'ro')];
  const writable = kind === 'view' ? [] : [`workdir=${workdir}`, `upperdir=${upperdir}`];
  const options = ['index=off', ...writable, `lowerdir=${lowerdirs.join(':')}`];
  return [{ type: 'overlay', source: 'overlay', options }];
}

const bind = (source: string, access: 'ro' | 'rw'): Mount => ({
  type: 'bind',
  source,
  options: [access, 'rbind'],
});
