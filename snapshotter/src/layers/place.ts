import { DrakkarError, type ErrorCode } from '@drakkar/protocol';
import type { LayerLimits } from './limits.ts';

const SHOWN_CHARACTERS = 200;

/** Bytes kept as `latin1`, for people: read as UTF-8, quoted, and cut where long. */
export function showBytes(bytes: string): string {
  const text = Buffer.from(bytes, 'latin1').toString('utf8');
  return JSON.stringify(text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text);
}

/** What the daemon's configuration calls the limits that it has. */
const CONFIGURED_AS: Partial<Record<keyof LayerLimits, string>> = {
  entries: 'snapshots.maxEntries',
  fileBytes: 'snapshots.maxFileBytes',
  totalBytes: 'snapshots.maxRawBytes',
};

/** Where in the image the work stands, so that every error can say so; and what the image has used of its limits. */
export class Place {
  readonly limits: LayerLimits;
  layer = '';
  /** The entry's path as the archive writes it (`latin1`); `undefined` before the first. */
  entry: string | undefined;
  #entries = 0;
  #metadataBytes = 0;
  #totalBytes = 0;
  #pathSteps = 0;

  constructor(limits: LayerLimits) {
    this.limits = limits;
  }

  startLayer(layer: string): void {
    this.layer = layer;
    this.entry = undefined;
  }

  error(code: ErrorCode, why: string, hint?: string): DrakkarError {
    const entry = this.entry === undefined ? 'before its first entry' : `entry ${showBytes(this.entry)}`;
    return new DrakkarError(code, `layer ${this.layer}, ${entry}: ${why}`, {
      hint,
      details: {
        layer: this.layer,
        entry: this.entry === undefined ? undefined : Buffer.from(this.entry, 'latin1').toString('utf8'),
      },
    });
  }

  /** The archive is not what it claims to be. */
  invalid(why: string): DrakkarError {
    return this.error(
      'invalid_content',
      why,
      'the image is damaged or was made by a faulty tool: build it again',
    );
  }

  /** @throws `limit_exceeded` when `value` is over the limit of that name */
  bound(name: keyof LayerLimits, value: number, what: string): void {
    if (value <= this.limits[name]) return;
    throw this.error(
      'limit_exceeded',
      `${what}: ${value} is over the limit of ${this.limits[name]}`,
      `if you trust this image, raise ${CONFIGURED_AS[name] ?? `the limit ${name}`}`,
    );
  }

  addEntry(): void {
    this.#entries += 1;
    if (this.#entries > this.limits.entries) this.bound('entries', this.#entries, 'too many entries');
  }

  addMetadata(bytes: number): void {
    this.#metadataBytes += bytes;
    if (this.#metadataBytes > this.limits.metadataBytes)
      this.bound('metadataBytes', this.#metadataBytes, 'too many bytes of names and attributes');
  }

  addPathSteps(steps: number): void {
    this.#pathSteps += steps;
    if (this.#pathSteps > this.limits.pathSteps)
      this.bound('pathSteps', this.#pathSteps, 'too much work to follow its links and parents');
  }

  addBytes(bytes: number): void {
    this.#totalBytes += bytes;
    if (this.#totalBytes > this.limits.totalBytes)
      this.bound('totalBytes', this.#totalBytes, 'too many uncompressed bytes');
  }
}
