import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import type { DistributionPlot, LinesPlot } from '@drakkar/plots';
import { z } from 'zod';
import type { ChaosResult } from '../chaos/chaos.ts';
import type { Measured } from './compare.ts';
import { drawPlots } from './draw.ts';
import type { Facts } from './facts.ts';
import type { Series } from './samples.ts';

/** A claim that a benchmark shows, or does not. */
export interface Claim {
  readonly what: string;
  readonly figure: number;
  readonly unit: '×' | 'ms' | 's' | 'MiB' | 'MB/s' | '%' | 'a second';
  readonly target: number;
  readonly holds: boolean;
  /** It is not about speed: where it does not hold, something is wrong, on whatever machine and input. */
  readonly isAboutCorrectness?: boolean;
}

/** A figure that must not pass a target. */
export function atMost(what: string, figure: number, unit: Claim['unit'], target: number): Claim {
  return { what, figure, unit, target, holds: figure <= target };
}

/** A figure that must reach a target. */
export function atLeast(what: string, figure: number, unit: Claim['unit'], target: number): Claim {
  return { what, figure, unit, target, holds: figure >= target };
}

/** A share that must be all, or what was measured is wrong. */
export function all(what: string, share: number): Claim {
  return { ...atLeast(what, share, '×', 1), isAboutCorrectness: true };
}

/** A plot beside the bars of what was sampled. */
export type Plot =
  | ({ readonly kind: 'lines' } & LinesPlot)
  | ({ readonly kind: 'distribution' } & DistributionPlot);

export interface Result {
  /** File name in bench/results. */
  readonly name: string;
  readonly title: string;
  /** How it was measured, and what was done before to warm up, in plain sentences. */
  readonly method?: string;
  readonly series: readonly Series[];
  /** The series that others are set against; the first that is not ours where some are, when absent. */
  readonly baseline?: string;
  readonly claims: readonly Claim[];
  /** What was measured on: the image, its size. */
  readonly input: Readonly<Record<string, unknown>>;
  /** By what follows the result's name in that of their files. */
  readonly plots?: Readonly<Record<string, Plot>>;
}

/** What is committed. */
export const RESULTS = join(import.meta.dirname, '../../results');

/** Files of raw data that {@link keepChaos} writes. */
export const CHAOS = /^chaos-.*\.json$/;

export interface Circumstances extends Facts {
  /** Of the form that says nothing of speed. */
  readonly isQuick: boolean;
  readonly rounds: number;
  readonly loadBefore: number;
  readonly loadAfter: number;
}

/** Keeps raw data and plots. */
export async function keepResult(
  directory: string,
  result: Result,
  { machine, loadBefore, loadAfter, ...circumstances }: Circumstances,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const document = {
    measuredAt: new Date().toISOString(),
    machine: { ...machine, loadBefore, loadAfter },
    ...circumstances,
    ...result,
  };
  await writeFile(join(directory, `${result.name}.json`), `${JSON.stringify(document, undefined, 2)}\n`);
  for (const [name, svg] of await drawPlots(result)) await writeFile(join(directory, name), svg);
}

/** Keeps what came of killing everything. */
export async function keepChaos(result: ChaosResult): Promise<void> {
  const document = { measuredAt: new Date().toISOString(), kernel: release(), ...result };
  const name = `chaos-${result.backend}-${result.backing}.json`;
  await writeFile(join(RESULTS, name), `${JSON.stringify(document, undefined, 2)}\n`);
}

const measuredSchema = z.object({
  name: z.string(),
  isQuick: z.boolean().default(false),
  baseline: z.string().optional(),
  series: z.array(z.object({ name: z.string(), samples: z.array(z.object({ wallMs: z.number() })) })),
});

/** Raw data of earlier runs, by the names of results. @param path a file of them, or a directory of such files @throws where one is none */
export async function earlierRuns(path: string): Promise<ReadonlyMap<string, Measured>> {
  const isDirectory = (await stat(path)).isDirectory();
  const names = isDirectory ? (await readdir(path)).filter((name) => /\.json$/.test(name)) : [''];
  const runs = new Map<string, Measured>();
  for (const name of names.filter((file) => !CHAOS.test(file))) {
    const file = join(path, name);
    const { data, error } = measuredSchema.safeParse(JSON.parse(await readFile(file, 'utf8')));
    if (data === undefined) throw new Error(`${file} is no result of a benchmark: ${z.prettifyError(error)}`);
    runs.set(data.name, data);
  }
  return runs;
}

/** What of a result cannot be: a figure that is no number, or bytes that are not all there. */
export function wrongIn({ claims }: Result): readonly Claim[] {
  return claims.filter(
    ({ figure, holds, isAboutCorrectness }) =>
      !Number.isFinite(figure) || (isAboutCorrectness === true && !holds),
  );
}

/** @param isQuick nothing is said of what speed does not show */
export function describeClaim(
  { what, figure, unit, target, holds, isAboutCorrectness = false }: Claim,
  isQuick = false,
): string {
  const shown = unit === '×' ? `${figure.toFixed(2)} ×` : `${figure.toFixed(1)} ${unit}`;
  if (isQuick && !isAboutCorrectness) return `  ${what}: ${shown}`;
  return `${holds ? '✓' : '✗'} ${what}: ${shown} (target ${target} ${unit})`;
}
