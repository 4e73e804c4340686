/**
 * Lazy volumes: what readers wait for is fetched from wherever it is, and given to the native helper, which answers them. What they will need next is
 * fetched before they ask.
 *
 * - `filler`       hears what readers wait for, of all devices
 * - `device-fill`  brings the blocks of one device, each once
 * - `completion`   completes volumes in the background, until they need nobody
 * - `lanes`        the way of blocks into devices
 * - `prefetch`     a learned list as blocks
 * - `read-ahead`   what to fetch ahead of who reads in order
 *
 * @example
 * ```ts
 * await using filler = new Filler({ readDeadlineMs: 25_000 }, { native, lanes, content, isWhole, find, log });
 * filler.start();
 * filler.know(image, config); // from now on its devices may be mounted sparse
 * ```
 */
export { Completion, type CompletionOptions } from './completion.ts';
export { DeviceFill } from './device-fill.ts';
export { type DeviceSource, Filler, type FillerModules, type FillerOptions } from './filler.ts';
export { blocksToPrefetch, type SlotRange } from './prefetch.ts';
