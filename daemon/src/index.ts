/**
 * The per-host daemon: it pulls blobs from registries into its store, mirrors them to containerd, turns images into block
 * snapshots and has them mounted by the native helper.
 *
 * @example
 * ```ts
 * import { configuration, startDaemon } from '@drakkar/daemon';
 *
 * await using daemon = await startDaemon(await configuration.load('/etc/drakkar/config.yaml'));
 * console.log((await daemon.status()).mirrorUrl);
 * ```
 *
 * @packageDocumentation
 */
export * from './config/index.ts';
export { type Daemon, startDaemon } from './daemon.ts';
export { createDaemonMetrics } from './metrics.ts';
export {
  type Backend,
  type Backing,
  type BlockSource,
  type MountVolume,
  type NativeHelper,
  nativeHelper,
  probeKernel,
  type VolumeDevice,
  type VolumeStatus,
  type Wish,
} from './native.ts';
export { type Helper, keepHelper, nativeProgram, startHelper } from './native-process.ts';
export { Announcements } from './swarm/announcements.ts';
export { AskedParent, Asking } from './swarm/asking.ts';
export { EXCHANGE_DEFAULTS, SWARM_PEER_DEFAULTS } from './swarm/options.ts';
export { PiecePicker } from './swarm/picker.ts';
export { type SlotRequest, Slots } from './swarm/slots.ts';
export { SuperSeed } from './swarm/super-seed.ts';

/** The parts of the swarm, loaded when somebody needs them: a command that reads the configuration does not wait for libp2p. */
export const loadSwarm = () => import('./swarm/index.ts');
