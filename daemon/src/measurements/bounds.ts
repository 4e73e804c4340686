import { type Digest, DrakkarError } from '@drakkar/protocol';
import type { MeasurementOptions } from './options.ts';

/** Of what is measured; `null` is what the host allows. */
export interface WantedBounds {
  readonly mostBytes: number | null;
  readonly withinMs: number | null;
}

export interface Bounds {
  readonly mostBytes: number;
  readonly withinMs: number;
}

/**
 * What holds for a measurement on this host. Pure.
 *
 * @throws `forbidden` where it is not to be measured; `limit_exceeded` for more than it allows
 */
export function boundsOf(wanted: WantedBounds, allows: MeasurementOptions): Bounds {
  if (!allows.allowed) {
    throw new DrakkarError('forbidden', 'this host is not to be measured', {
      hint: 'set measurements.allowed in the configuration of its daemon',
    });
  }
  const mostBytes = wanted.mostBytes ?? allows.mostBytes;
  const withinMs = wanted.withinMs ?? allows.withinMs;
  if (mostBytes > allows.mostBytes) {
    throw new DrakkarError(
      'limit_exceeded',
      `this host lets a measurement bring ${allows.mostBytes} bytes at most`,
      {
        hint: 'ask for less with --most, or raise measurements.mostBytes of its daemon',
      },
    );
  }
  if (withinMs > allows.withinMs) {
    throw new DrakkarError(
      'limit_exceeded',
      `this host lets a measurement take ${allows.withinMs} ms at most`,
      {
        hint: 'ask for less with --within, or raise measurements.withinMs of its daemon',
      },
    );
  }
  return { mostBytes, withinMs };
}

/** A part of what is measured. */
export interface Part {
  readonly digest: Digest;
  readonly size: number;
}

export interface Presence {
  readonly sizeBytes: number;
  /** Of them here already. */
  readonly hereBytes: number;
}

/** How much of the parts was here. Pure. @param before bytes by digest */
export function presenceOf(parts: Iterable<Part>, before: ReadonlyMap<Digest, number>): Presence {
  let sizeBytes = 0;
  let hereBytes = 0;
  const once = new Map([...parts].map(({ digest, size }) => [digest, size]));
  for (const [digest, size] of once) {
    sizeBytes += size;
    hereBytes += Math.min(size, before.get(digest) ?? 0);
  }
  return { sizeBytes, hereBytes };
}

/** @throws `limit_exceeded` for what is more than may be brought; `no_space` where others' content would have to go for it */
export function requireFits(missingBytes: number, mostBytes: number, freeBytes: number): void {
  if (missingBytes > mostBytes) throw tooMuch(missingBytes, mostBytes);
  if (missingBytes === 0 || missingBytes <= freeBytes) return;
  throw new DrakkarError(
    'no_space',
    `${missingBytes} bytes are to come, and the store has room for ${Math.max(0, freeBytes)} without giving something up`,
    { hint: 'measure with a smaller image, or raise store.quotaBytes of its daemon' },
  );
}

export function tooMuch(bytes: number, mostBytes: number): DrakkarError {
  return new DrakkarError('limit_exceeded', `it brings ${bytes} bytes, and ${mostBytes} are allowed`, {
    hint: 'allow more with --most, or measure with a smaller image',
  });
}
