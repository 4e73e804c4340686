import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { drawBars } from '../plots/bars.ts';
import type { Series } from './samples.ts';

/** A claim that a benchmark shows, or does not. */
export interface Claim {
  readonly what: string;
  readonly figure: number;
  readonly unit: '×' | 'ms' | 'MiB' | '%';
  readonly target: number;
  readonly holds: boolean;
}

/** A figure that must not pass a target. */
export function atMost(what: string, figure: number, unit: Claim['unit'], target: number): Claim {
  return { what, figure, unit, target, holds: figure <= target };
}

/** A figure that must reach a target. */
export function atLeast(what: string, figure: number, unit: Claim['unit'], target: number): Claim {
  return { what, figure, unit, target, holds: figure >= target };
}

export interface Result {
  /** File name in bench/results. */
  readonly name: string;
  readonly title: string;
  readonly series: readonly Series[];
  readonly claims: readonly Claim[];
  /** What was measured on: the image, its size. */
  readonly input: Readonly<Record<string, unknown>>;
}

const RESULTS = join(import.meta.dirname, '../../results');

/** Keeps raw data and plot. */
export async function keepResult(result: Result, loadBefore: number): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  const machine = {
    kernel: release(),
    cores: cpus().length,
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryBytes: totalmem(),
    node: process.version,
    loadBefore,
    loadAfter: loadavg()[0],
  };
  const document = { measuredAt: new Date().toISOString(), machine, ...result };
  await writeFile(join(RESULTS, `${result.name}.json`), `${JSON.stringify(document, undefined, 2)}\n`);
  await writeFile(join(RESULTS, `${result.name}.svg`), drawBars(result.title, result.series));
}

export function describeClaim({ what, figure, unit, target, holds }: Claim): string {
  const shown = unit === '×' ? `${figure.toFixed(2)} ×` : `${figure.toFixed(1)} ${unit}`;
  return `${holds ? '✓' : '✗'} ${what}: ${shown} (target ${target} ${unit})`;
}
