import type { SnapshotSummary } from '@drakkar/client';
import { hexOf, type SnapshotConfig } from '@drakkar/protocol';
import type { VolumeStatus } from '../native.ts';
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
