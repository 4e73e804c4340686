import type { DaemonStatus, Probe } from '@drakkar/client';
import type { DrakkarError, ErrorDocument } from '@drakkar/errors';
import { formatBytes } from '../output/format.ts';

/** What the doctor found of one thing. */
export interface Check {
  readonly name: string;
  readonly verdict: 'ok' | 'warning' | 'failure';
  readonly finding: string;
  /** What to do about it, where it is not well. */
  readonly remedy?: string | undefined;
}

/** What this kernel can do for us. Pure. */
export function kernelChecks(probe: Probe): Check[] {
  const kernel = `Linux ${probe.kernel}`;
  const checks: Check[] = [];
  if (!probe.erofs.works) {
    checks.push({
      name: 'EROFS',
      verdict: 'failure',
      finding: `${kernel} can't mount EROFS: ${probe.erofs.reason}`,
      remedy: 'load the module (modprobe erofs), or run a kernel ≥ 5.16 with CONFIG_EROFS_FS',
    });
  } else if (probe.erofsOnFiles.works) {
    checks.push({ name: 'EROFS', verdict: 'ok', finding: `${kernel} mounts EROFS from files` });
  } else if (probe.loopDevices.works) {
    checks.push({
      name: 'EROFS',
      verdict: 'ok',
      finding: `${kernel} mounts EROFS through loop devices; from files: ${probe.erofsOnFiles.reason}`,
    });
  } else {
    checks.push({
      name: 'EROFS',
      verdict: 'failure',
      finding: `${kernel} mounts EROFS neither from files nor through loop devices: ${probe.loopDevices.reason}`,
      remedy:
        'load the loop module (modprobe loop), or run a kernel ≥ 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE',
    });
  }
  checks.push(
    probe.overlay.works
      ? { name: 'overlay', verdict: 'ok', finding: 'overlayfs is there' }
      : {
          name: 'overlay',
          verdict: 'failure',
          finding: `no overlayfs: ${probe.overlay.reason}`,
          remedy: 'modprobe overlay, or a kernel with CONFIG_OVERLAY_FS',
        },
    lazyCheck(probe),
  );
  return checks;
}

/** How volumes are filled while they are read. */
function lazyCheck({ fanotifyPreContent, fuse }: Probe): Check {
  const name = 'lazy volumes';
  if (fanotifyPreContent.works)
    return { name, verdict: 'ok', finding: 'filled through fanotify while they are read' };
  if (fuse.works) {
    const finding = `filled through FUSE while they are read; through fanotify: ${fanotifyPreContent.reason}`;
    return { name, verdict: 'ok', finding };
  }
  return {
    name,
    verdict: 'failure',
    finding: `none: neither fanotify (${fanotifyPreContent.reason}) nor FUSE (${fuse.reason})`,
    remedy: 'load the module (modprobe fuse), or run a kernel ≥ 6.14 with CONFIG_FANOTIFY_ACCESS_PERMISSIONS',
  };
}

export function daemonChecks(status: DaemonStatus | DrakkarError): Check[] {
  if (status instanceof Error) {
    return [{ name: 'daemon', verdict: 'failure', finding: status.message, remedy: status.hint }];
  }
  return [
    {
      name: 'daemon',
      verdict: 'ok',
      finding: `version ${status.version}, process ${status.pid}, mirror ${status.mirrorUrl}`,
    },
    {
      name: 'builder key',
      verdict: 'ok',
      finding: status.builderPublicKey,
    },
    storeCheck(status.store),
    helperCheck(status.nativeError),
  ];
}

function storeCheck({ quotaBytes, usedBytes }: DaemonStatus['store']): Check {
  const name = 'store';
  const finding = `${formatBytes(usedBytes)} of ${formatBytes(quotaBytes)}`;
  if (usedBytes > quotaBytes) {
    return {
      name,
      verdict: 'warning',
      finding: `${finding}: more than its quota`,
      remedy:
        'the next download drives out the oldest, but nothing that is mounted (`drakkar snapshot ls`): unmount some of it, or raise store.quotaBytes',
    };
  }
  return {
    name,
    verdict: 'ok',
    finding: usedBytes > quotaBytes * 0.95 ? `${finding}; the oldest makes room` : finding,
  };
}

function helperCheck(error: ErrorDocument | null): Check {
  return error === null
    ? { name: 'native helper', verdict: 'ok', finding: 'answers the daemon' }
    : { name: 'native helper', verdict: 'failure', finding: error.message, remedy: error.hint };
}

const MINIMUM_FREE_BYTES = 2 * 1024 ** 3;

/** File systems that forget at a reboot, or that EROFS can't be mounted from. Source: statfs(2), linux/magic.h. */
const UNFIT_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlayfs'],
  [0x6969, 'NFS'],
]);

export function diskCheck(
  directory: string,
  fileSystemType: number,
  freeBytes: number,
  quotaBytes: number,
): Check {
  const unfit = UNFIT_FILE_SYSTEMS.get(fileSystemType);
  if (unfit !== undefined) {
    return {
      name: 'disk',
      verdict: 'warning',
      finding: `${directory} is on ${unfit}`,
      remedy: 'set stateDirectory to a disk with ext4, xfs or btrfs',
    };
  }
  if (freeBytes < MINIMUM_FREE_BYTES) {
    return {
      name: 'disk',
      verdict: 'warning',
      finding: `${formatBytes(freeBytes)} free at ${directory}`,
      remedy: 'free some space: a snapshot needs about three times its image',
    };
  }
  const note = freeBytes < quotaBytes ? `, less than the quota of ${formatBytes(quotaBytes)}` : '';
  return { name: 'disk', verdict: 'ok', finding: `${formatBytes(freeBytes)} free at ${directory}${note}` };
}

export function programCheck(name: string, versionLine: string | undefined, neededFor: string): Check {
  return versionLine === undefined
    ? { name, verdict: 'warning', finding: 'not found', remedy: `install it: ${neededFor} needs it` }
    : { name, verdict: 'ok', finding: versionLine };
}

const SIGNS: Readonly<Record<Check['verdict'], string>> = { ok: '✓', warning: '!', failure: '✗' };

/** A check as a line, with what to do below it. */
export function describeCheck({ name, verdict, finding, remedy }: Check): string {
  const next = verdict === 'ok' || remedy === undefined ? '' : `\n${' '.repeat(18)}→ ${remedy}`;
  return `${SIGNS[verdict]} ${name.padEnd(14)}  ${finding}${next}`;
}
