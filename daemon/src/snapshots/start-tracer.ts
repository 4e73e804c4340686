import type { Digest, SnapshotConfig, Trace } from '@drakkar/protocol';
import type { Filler } from '../fill/index.ts';
import type { NativeHelper, VolumeStatus } from '../native.ts';
import type { LearnedStarts } from './learned.ts';
import type { Log } from './modules.ts';
import { figuresOf, traceOf } from './touched.ts';
import { type Mountable, volumeId } from './volumes.ts';
import type { Work } from './work.ts';

export interface StartTracerOptions {
  /** How long after its mount what a start reads is taken down. */
  readonly traceMs: number;
}

export interface StartTracerModules {
  readonly native: Pick<NativeHelper, 'touches'>;
  readonly filler: Pick<Filler, 'prefetch' | 'fetchAhead'>;
  readonly learned: LearnedStarts;
  readonly log: Log;
}

interface TracedStart {
  readonly config: SnapshotConfig;
  readonly startKey: Digest;
  readonly sinceMs: number;
  readonly timer: NodeJS.Timeout;
  prefetched: Trace;
}

/** Has what a start is known to read fetched before it asks, and takes down what it did read. In the background: no start waits for it. */
export class StartTracer implements AsyncDisposable {
  readonly #options: StartTracerOptions;
  readonly #modules: StartTracerModules;
  /** By volume. */
  readonly #traced = new Map<string, TracedStart>();
  readonly #running = new Set<Promise<void>>();
  readonly #ending = new AbortController();

  constructor(options: StartTracerOptions, modules: StartTracerModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Which snapshot a start will mount is known, and where what it will read is had. */
  foresee(mountable: Mountable, startKey: Digest, { signal }: Work): void {
    const list = this.#modules.learned.listOf(mountable.config, startKey);
    this.#run(() => this.#modules.filler.fetchAhead(mountable, list, signal));
  }

  /** A volume that was not mounted has been, for a start. */
  begin(config: SnapshotConfig, startKey: Digest, { filling }: Pick<VolumeStatus, 'filling'>): void {
    if (filling.length === 0) return;
    // Of a device that is complete nobody sees what is read.
    if (filling.length === config.devices.length) this.#trace(config, startKey);
    this.#run(() => this.#prefetch(config, startKey));
  }

  /** A start of it has ended. Returns when what it has read is taken down, after which nobody needs the volume to be mounted. Never rejects. */
  async ended(config: SnapshotConfig): Promise<void> {
    await this.#collectSoon(volumeId(config));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    for (const { timer } of this.#traced.values()) clearTimeout(timer);
    await Promise.all(this.#running);
  }

  #trace(config: SnapshotConfig, startKey: Digest): void {
    const volume = volumeId(config);
    clearTimeout(this.#traced.get(volume)?.timer);
    const timer = setTimeout(() => this.#collectSoon(volume), this.#options.traceMs);
    const sinceMs = performance.now();
    this.#traced.set(volume, { config, startKey, sinceMs, timer, prefetched: [] });
  }

  async #prefetch(config: SnapshotConfig, startKey: Digest): Promise<void> {
    const { learned, filler } = this.#modules;
    const { signal } = this.#ending;
    const list = await learned.find(config, startKey, signal);
    const traced = this.#traced.get(volumeId(config));
    if (traced !== undefined) traced.prefetched = list;
    if (list.length > 0) await filler.prefetch(config, list, signal);
  }

  async #collectSoon(volume: string): Promise<void> {
    const traced = this.#traced.get(volume);
    if (traced === undefined) return;
    this.#traced.delete(volume);
    clearTimeout(traced.timer);
    await this.#run(() => this.#collect(volume, traced));
  }

  async #collect(volume: string, { config, startKey, sinceMs, prefetched }: TracedStart): Promise<void> {
    const { native, learned } = this.#modules;
    const touches = await native.touches(volume, { signal: this.#ending.signal });
    const passedMs = performance.now() - sinceMs;
    const own = touches.filter(({ agoMs }) => agoMs <= passedMs);
    if (own.length === 0) return;
    learned.report(config, startKey, traceOf(own), figuresOf(own, prefetched, config.blockBytes));
  }

  #run(task: () => Promise<void>): Promise<void> {
    const running: Promise<void> = task()
      .catch((error: unknown) => {
        if (this.#ending.signal.aborted) return;
        this.#modules.log.debug({ error }, 'what a start reads is not known');
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }
}
