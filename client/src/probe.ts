/** Whether something works, and why not in the kernel's words. */
export interface Finding {
  readonly works: boolean;
  readonly reason: string | null;
}

/** What the helper found out of this kernel by trying, as `native/src/probe.rs` says it. */
export interface Probe {
  readonly kernel: string;
  readonly erofs: Finding;
  readonly erofsOnFiles: Finding;
  readonly loopDevices: Finding;
  readonly overlay: Finding;
  readonly fuse: Finding;
  readonly fanotifyPreContent: Finding;
  readonly backends: readonly string[];
}
