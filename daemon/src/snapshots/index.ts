/**
 * Block snapshots on this host: what an image's name means (`images`), how its snapshot is come by (`acquire`: in the `cluster`, `found` in a registry, or `build`), which
 * are known (`catalogue`) and which are mounted (`volumes`). `service` is all of it.
 */

export { Acquirer, type AcquirerModules, type AcquirerOptions } from './acquire.ts';
export { Announcer } from './announcer.ts';
export { Catalogue, findDevice, findVolume, type SnapshotRecord } from './catalogue.ts';
export { type Image, Images } from './images.ts';
export { LearnedStarts } from './learned.ts';
export type * from './modules.ts';
export type { Log } from './modules.ts';
export { allDigests, filesOf } from './modules.ts';
export { Rearranger } from './rearranger.ts';
export { snapshotFigures } from './residency.ts';
export { type Acquired, SnapshotService } from './service.ts';
export { STAGING_HOLDER_PREFIX } from './staging.ts';
export { type StartCommand, startKeyOf } from './start-key.ts';
export { StartTracer } from './start-tracer.ts';
export { tracedFiles } from './traced-files.ts';
export { verifySnapshot } from './verify.ts';
export { Volumes } from './volumes.ts';
export { Work, type WorkOptions } from './work.ts';
