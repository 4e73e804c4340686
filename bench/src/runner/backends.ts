/** A way in which volumes are filled while they are mounted. */
export interface LazyBackend {
  readonly name: 'fanotify' | 'fuse';
  /** The least speed of warm reads, against overlayfs. */
  readonly readTarget: number;
}

/** Each has numbers of its own. */
export const LAZY_BACKENDS: readonly LazyBackend[] = [
  { name: 'fanotify', readTarget: 1 },
  { name: 'fuse', readTarget: 0.9 },
];
