import { setTimeout as sleep } from 'node:timers/promises';
import { type Digest, digestFromHex, hexOf, isDrakkarError, type SnapshotConfig } from '@drakkar/protocol';
import type { NativeHelper, VolumeStatus } from '../native.ts';
import { RateLimit } from '../rate-limit.ts';
import type { Log } from '../snapshots/index.ts';
import type { Filler } from './filler.ts';

export interface CompletionOptions {
  /** `on`: as soon as the delay is over; `idle`: only while no reader has waited for a while; `off`: only what readers have asked for. */
  readonly background: 'on' | 'idle' | 'off';
  /** Compressed bytes per second; no limit where `null`. */
  readonly backgroundRate: number | null;
  /** After a mount, so that the start itself has the link alone. */
  readonly backgroundDelayMs: number;
}

export interface CompletionModules {
  readonly filler: Pick<Filler, 'device' | 'idleMs'>;
  readonly native: Pick<NativeHelper, 'presentBlocks' | 'volumes'>;
  readonly log: Log;
  /** Lets the kernel read alone what of a volume is complete. */
  retire(config: SnapshotConfig, signal: AbortSignal): Promise<VolumeStatus>;
}

/** No reader has waited for so long: the host is idle. */
const IDLE_MS = 2_000;
const LOOK_MS = 250;
/** Of what only readers fill: how often it is looked whether all of it is here. */
const WHOLE_LOOK_MS = 5_000;
/** After a failure: who had the blocks may come back. */
const RETRY_MS = 30_000;

/**
 * Completes volumes in the background, one after the other, behind whatever readers wait for; then they need nobody of ours any more. What can't be
 * had now is tried again as long as the volume is mounted.
 */
export class Completion implements AsyncDisposable {
  readonly #options: CompletionOptions;
  readonly #modules: CompletionModules;
  readonly #rate: RateLimit;
  readonly #ending = new AbortController();
  /** By the meta's raw digest, in the order in which they were mounted. */
  readonly #waiting = new Map<Digest, { readonly config: SnapshotConfig; readonly dueAtMs: number }>();
  #running: Promise<void> | undefined;

  constructor(options: CompletionOptions, modules: CompletionModules) {
    this.#options = options;
    this.#modules = modules;
    this.#rate = new RateLimit(options.backgroundRate);
  }

  /** A volume has been mounted of which something is missing. */
  add(config: SnapshotConfig): void {
    if (this.#waiting.has(config.meta.rawDigest)) return;
    this.#later(config, this.#options.backgroundDelayMs);
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** A volume is no longer mounted. @param meta the raw digest of its meta */
  remove(meta: Digest): void {
    this.#waiting.delete(meta);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  #later(config: SnapshotConfig, delayMs: number): void {
    this.#waiting.set(config.meta.rawDigest, { config, dueAtMs: performance.now() + delayMs });
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (this.#waiting.size > 0 && !signal.aborted) {
      const due = this.#waiting.values().find(({ dueAtMs }) => dueAtMs <= performance.now());
      if (due === undefined) {
        await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
        continue;
      }
      const { config } = due;
      try {
        if (this.#options.background !== 'off') await this.#complete(config, signal);
        else if (!(await this.#retireWhole(config, signal))) {
          if (this.#waiting.has(config.meta.rawDigest)) this.#later(config, WHOLE_LOOK_MS);
          continue;
        }
        this.#waiting.delete(config.meta.rawDigest);
      } catch (error) {
        if (signal.aborted || !this.#waiting.has(config.meta.rawDigest)) continue;
        // What another worker of the helper has left to the kernel meanwhile is nobody's to fill.
        const isLeft = isDrakkarError(error, 'not_found');
        this.#modules.log[isLeft ? 'debug' : 'warn'](
          { image: config.manifestDigest, error },
          'a volume can’t be completed for now',
        );
        this.#later(config, isLeft ? LOOK_MS : RETRY_MS);
      }
    }
  }

  /** What readers have brought all of needs nobody of ours any more, either. */
  async #retireWhole(config: SnapshotConfig, signal: AbortSignal): Promise<boolean> {
    const { native, retire } = this.#modules;
    const volume = hexOf(config.meta.rawDigest);
    const known = (await native.volumes({ signal })).find((other) => other.volume === volume);
    const isWhole = known?.filling.every(({ blocks, presentBlocks }) => presentBlocks === blocks);
    return isWhole === true && (await retire(config, signal)).filling.length === 0;
  }

  async #complete(config: SnapshotConfig, signal: AbortSignal): Promise<void> {
    const { filler, native, retire, log } = this.#modules;
    let status = await retire(config, signal);
    for (const hex of status.filling.map(({ device }) => device)) {
      if (!this.#waiting.has(config.meta.rawDigest)) return;
      const device = digestFromHex(hex);
      const filling = await filler.device(device);
      await filling.completeBlob(signal, (bytes) => this.#turn(bytes, signal));
      const present = new Set(await native.presentBlocks(device, { signal }));
      const missing = Array.from({ length: filling.blockCount }, (_, block) => block).filter(
        (block) => !present.has(block),
      );
      await filling.bring(missing, 'rest', signal);
      // Each for itself, so that what is complete is off our hands.
      status = await retire(config, signal);
    }
    if (status.filling.length === 0) log.info({ image: config.manifestDigest }, 'a volume is complete');
  }

  /** Returns when so many bytes may be asked for. */
  async #turn(bytes: number, signal: AbortSignal): Promise<void> {
    while (this.#options.background === 'idle' && this.#modules.filler.idleMs < IDLE_MS) {
      await sleep(LOOK_MS, undefined, { signal });
    }
    await this.#rate.pass(bytes, signal);
  }
}
