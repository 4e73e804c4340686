import { setTimeout as delay } from 'node:timers/promises';
import { DrakkarError } from '@drakkar/protocol';
import type { UpstreamOptions } from './options.ts';

/** Answers that another try may better. Source: RFC 9110; containerd and Docker retry the same. */
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);

export function isTransientStatus(status: number): boolean {
  return TRANSIENT.has(status);
}

/** Milliseconds that a `Retry-After` asks for: seconds or an HTTP date. `undefined` when it makes no sense. */
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/**
 * How long to wait before try number `attempt` + 1 (the first try is 1): exponential with full jitter above half, or what the
 * registry asked for; both capped. `random` is from [0, 1).
 */
export function backoffMs(
  attempt: number,
  retryAfterMs: number | undefined,
  random: number,
  options: Pick<UpstreamOptions, 'backoffMs' | 'backoffCapMs' | 'retryAfterCapMs'>,
): number {
  const base = Math.min(options.backoffCapMs, options.backoffMs * 2 ** (attempt - 1));
  const jittered = base * (0.5 + random / 2);
  if (retryAfterMs === undefined) return jittered;
  return Math.min(options.retryAfterCapMs, Math.max(retryAfterMs, jittered));
}

/** @throws `cancelled` */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new DrakkarError('cancelled', 'the transfer was cancelled', { cause: signal.reason });
}

/** @throws `cancelled` */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfCancelled(signal);
  try {
    await delay(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throwIfCancelled(signal);
    throw error;
  }
}
