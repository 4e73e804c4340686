import type { Directories } from './contract.ts';
import type { Kind } from './metadata.ts';

/** What containerd is to mount. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface MountChoices {
  /** Of ids. */
  readonly mapping?: readonly string[];
  /** Though it has no parent yet: it is a layer that will get one, so that what deletes something below must be kept as an overlay has it. */
  readonly isUponOthers?: boolean;
}

/**
 * How a snapshot is seen: one directory alone is bound, several are laid over each other. Options are those of containerd's own overlayfs
 * snapshotter. Source: plugins/snapshots/overlay/overlay.go.
 */
export function mountsOf(
  kind: Kind,
  { upperdir, workdir, lowerdirs }: Directories,
  { mapping = [], isUponOthers = false }: MountChoices = {},
): Mount[] {
  const [nearest] = lowerdirs;
  if (nearest === undefined && !isUponOthers)
    return [bind(upperdir, [...mapping, kind === 'view' ? 'ro' : 'rw'])];
  if (nearest !== undefined && kind === 'view' && lowerdirs.length === 1)
    return [bind(nearest, [...mapping, 'ro'])];
  const writable = kind === 'view' ? [] : [`workdir=${workdir}`, `upperdir=${upperdir}`];
  const lower = nearest === undefined ? [] : [`lowerdir=${lowerdirs.join(':')}`];
  const options = [...mapping, 'index=off', ...writable, ...lower];
  return [{ type: 'overlay', source: 'overlay', options }];
}

const bind = (source: string, options: readonly string[]): Mount => ({
  type: 'bind',
  source,
  options: [...options, 'rbind'],
});
