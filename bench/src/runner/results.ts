import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { bars, type DistributionPlot, distribution, type LinesPlot, lines } from '@drakkar/plots';
import { z } from 'zod';
import type { ChaosResult } from '../chaos/chaos.ts';
import type { Measured } from './compare.ts';
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

/** A plot beside the bars of what was sampled. */
export type Plot =
  | ({ readonly kind: 'lines' } & LinesPlot)
  | ({ readonly kind: 'distribution' } & DistributionPlot);

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
  /** By what follows the result's name in that of their files. */
  readonly plots?: Readonly<Record<string, Plot>>;
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
  for (const [name, svg] of await drawPlots(result)) await writeFile(join(RESULTS, name), svg);
}

const SECOND_MS = 1_000;

/** The plots of a result by the names of their files: of its samples as bars, and those that it has itself. */
async function drawPlots({
  name,
  title,
  series,
  plots = {},
}: Pick<Result, 'name' | 'title' | 'series' | 'plots'>): Promise<Map<string, string>> {
  const walls = series.map((one) => one.samples.map(({ wallMs }) => wallMs));
  const isLong = walls.flat().some((wallMs) => wallMs >= SECOND_MS);
  const drawn = new Map<string, string>();
  if (walls.flat().length > 0) {
    const svg = await bars({
      title,
      axis: { title: 'time', unit: isLong ? 's' : 'ms' },
      series: walls.map((values, index) => ({
        name: series[index]?.name ?? '',
        values: isLong ? values.map((wallMs) => wallMs / SECOND_MS) : values,
      })),
    });
    drawn.set(`${name}.svg`, svg);
  }
  for (const [suffix, plot] of Object.entries(plots)) {
    const svg = plot.kind === 'lines' ? await lines(plot) : await distribution(plot);
    drawn.set(`${name}-${suffix}.svg`, svg);
  }
  return drawn;
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

const chaosSchema = z.object({
  measuredAt: z.string(),
  backend: z.string(),
  backing: z.string(),
  kills: z.record(z.string(), z.number()),
  reads: z.number(),
  wrong: z.array(z.unknown()),
  failed: z.array(z.unknown()),
  longestReadMs: z.number(),
  isContainerAlive: z.boolean(),
});

const CHAOS = /^chaos-.*\.json$/;

/** Keeps what came of killing everything. */
export async function keepChaos(result: ChaosResult): Promise<void> {
  const document = { measuredAt: new Date().toISOString(), kernel: release(), ...result };
  const name = `chaos-${result.backend}-${result.backing}.json`;
  await writeFile(join(RESULTS, name), `${JSON.stringify(document, undefined, 2)}\n`);
}

/** bench/results/README.md: every claim of every result that is kept, with its plot. */
export async function summarise(): Promise<void> {
  const names = (await readdir(RESULTS)).filter((name) => name.endsWith('.json')).sort();
  const head =
    '# Results\n\nWritten by `npm run bench` and `npm run chaos`. Ratios are of medians, contenders in turn in one run on one machine.';
  const sections = names.filter((name) => !CHAOS.test(name)).map(sectionOf);
  const chaos = await chaosSection(names.filter((name) => CHAOS.test(name)));
  const text = [head, chaos, ...(await Promise.all(sections))].join('\n\n');
  await writeFile(join(RESULTS, 'README.md'), `${text}\n`);
}

async function readDocument<Document>(name: string, schema: z.ZodType<Document>): Promise<Document> {
  return schema.parse(JSON.parse(await readFile(join(RESULTS, name), 'utf8')));
}

async function sectionOf(name: string): Promise<string> {
  const result = await readDocument(name, documentSchema);
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
}

async function chaosSection(names: readonly string[]): Promise<string> {
  const rows = names.map(async (name) => {
    const { measuredAt, backend, backing, kills, reads, wrong, failed, longestReadMs, isContainerAlive } =
      await readDocument(name, chaosSchema);
    const killed = Object.values(kills).reduce((sum, count) => sum + count, 0);
    const longest = `${(longestReadMs / 1000).toFixed(1)} s`;
    const raw = `[${name}](${name}), ${measuredAt.slice(0, 10)}`;
    return `| ${backend}, ${backing} | ${killed} | ${reads} | ${wrong.length} | ${failed.length} | ${longest} | ${isContainerAlive ? 'goes on' : 'died'} | ${raw} |`;
  });
  return [
    '## Killed while others read',
    '',
    'Workers, holders, daemons, seeds, peers and the supernode are killed at random moments, while readers compare every byte of a lazy volume.',
    '',
    '| backend, backing | killed | reads | wrong | failed | longest read | a container meanwhile | raw data |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...(await Promise.all(rows)),
  ].join('\n');
}

const measuredSchema = z.object({
  name: z.string(),
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

export function describeClaim({ what, figure, unit, target, holds }: Claim): string {
  const shown = unit === '×' ? `${figure.toFixed(2)} ×` : `${figure.toFixed(1)} ${unit}`;
  return `${holds ? '✓' : '✗'} ${what}: ${shown} (target ${target} ${unit})`;
}
