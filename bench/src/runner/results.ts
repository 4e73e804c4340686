import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { drawBars } from '../plots/bars.ts';
import type { Series } from './samples.ts';

/** A claim that a benchmark shows, or does not. */
export interface Claim {
  readonly what: string;
  readonly figure: number;
  readonly unit: '×' | 'ms' | 's' | 'MiB' | 'MB/s' | '%';
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
  /** How it was measured, in plain sentences. */
  readonly method?: string;
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

const documentSchema = z.object({
  name: z.string(),
  title: z.string(),
  method: z.string().optional(),
  measuredAt: z.string(),
  claims: z.array(
    z.object({
      what: z.string(),
      figure: z.number(),
      unit: z.string(),
      target: z.number(),
      holds: z.boolean(),
    }),
  ),
});

/** bench/results/README.md: every claim of every result that is kept, with its plot. */
export async function summarise(): Promise<void> {
  const names = (await readdir(RESULTS)).filter((name) => name.endsWith('.json')).sort();
  const sections = await Promise.all(
    names.map(async (name) => {
      const result = documentSchema.parse(JSON.parse(await readFile(join(RESULTS, name), 'utf8')));
      const rows = result.claims.map(
        ({ what, figure, unit, target, holds }) =>
          `| ${what} | ${figure.toFixed(2)} ${unit} | ${target} ${unit} | ${holds ? 'holds' : 'missed'} |`,
      );
      return [
        `## ${result.title}`,
        '',
        ...(result.method === undefined ? [] : [result.method, '']),
        '| what | median | target | |',
        '| --- | --- | --- | --- |',
        ...rows,
        '',
        `![${result.title}](${result.name}.svg)`,
        '',
        `Raw data: [${name}](${name}), ${result.measuredAt.slice(0, 10)}.`,
      ].join('\n');
    }),
  );
  const head =
    '# Results\n\nWritten by `npm run bench`. Ratios are of medians, contenders in turn in one run on one machine.';
  await writeFile(join(RESULTS, 'README.md'), `${[head, ...sections].join('\n\n')}\n`);
}

export function describeClaim({ what, figure, unit, target, holds }: Claim): string {
  const shown = unit === '×' ? `${figure.toFixed(2)} ×` : `${figure.toFixed(1)} ${unit}`;
  return `${holds ? '✓' : '✗'} ${what}: ${shown} (target ${target} ${unit})`;
}
