import type { SnapshotSummary } from '@drakkar/client';
import { hexOf, type SnapshotConfig } from '@drakkar/protocol';
import type { DaemonFigures } from '../metrics.ts';
import type { VolumeStatus } from '../native.ts';
import type { Catalogue } from './catalogue.ts';
import { rawDigests, type Store } from './modules.ts';

/**
 * How much of a snapshot's devices is here, as far as that can be said without asking anybody: the helper knows it block by block of what is being
 * filled, the store knows what is complete, and of the rest what lies on the disk.
 *
 * @param status of its volume, where it is mounted
 */
export function residencyOf(
  config: SnapshotConfig,
  store: Pick<Store, 'stat'>,
  status: Pick<VolumeStatus, 'filling'> | undefined,
): Pick<SnapshotSummary, 'residency' | 'offlineReady'> {
  const filling = new Map(status?.filling.map(({ device, ...counts }) => [device, counts]));
  let presentBytes = 0;
  let totalBytes = 0;
  for (const { rawDigest, rawSizeBytes } of config.devices) {
    const counts = filling.get(hexOf(rawDigest));
    const share =
      counts === undefined
        ? (store.stat(rawDigest)?.presentBytes ?? 0) / Math.max(1, rawSizeBytes)
        : counts.presentBlocks / counts.blocks;
    presentBytes += share * rawSizeBytes;
    totalBytes += rawSizeBytes;
  }
  const offlineReady = rawDigests(config).every((digest) => store.stat(digest)?.complete === true);
  return { residency: totalBytes === 0 ? 1 : presentBytes / totalBytes, offlineReady };
}

/** Of all snapshots together, for metrics. Devices that several of them share count once for each. */
export function snapshotFigures(
  catalogue: Pick<Catalogue, 'list'>,
  store: Pick<Store, 'stat'>,
): Pick<DaemonFigures, 'snapshots' | 'snapshotsOfflineReady' | 'snapshotBytes' | 'snapshotResidentBytes'> {
  const figures = { snapshots: 0, snapshotsOfflineReady: 0, snapshotBytes: 0, snapshotResidentBytes: 0 };
  for (const { config } of catalogue.list()) {
    const { residency, offlineReady } = residencyOf(config, store, undefined);
    const bytes = config.devices.reduce((total, { rawSizeBytes }) => total + rawSizeBytes, 0);
    figures.snapshots += 1;
    figures.snapshotsOfflineReady += offlineReady ? 1 : 0;
    figures.snapshotBytes += bytes;
    figures.snapshotResidentBytes += Math.round(residency * bytes);
  }
  return figures;
}
