import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { TARGETS, type Target } from '../targets.ts';
import { baselinesOf, intervalOf } from './compare.ts';
import { drawPlots } from './draw.ts';
import { CHAOS, type Plot } from './results.ts';
import { median } from './samples.ts';

/** Raw data of one result, as far as pages show it. */
export const documentSchema = z.object({
  name: z.string(),
  title: z.string(),
  method: z.string().optional(),
  baseline: z.string().optional(),
  measuredAt: z.string(),
  isQuick: z.boolean().default(false),
  code: z.object({ commit: z.string(), isClean: z.boolean() }).nullable().default(null),
  machine: z.object({ kernel: z.string(), cores: z.number(), cpu: z.string(), loadBefore: z.number() }),
  series: z.array(z.object({ name: z.string(), samples: z.array(z.object({ wallMs: z.number() })) })),
  claims: z.array(
    z.object({
      what: z.string(),
      // What is no number is null in JSON.
      figure: z.number().nullable(),
      unit: z.string(),
      target: z.number(),
      holds: z.boolean(),
    }),
  ),
  plots: z.record(z.string(), z.custom<Plot>()).default({}),
});

type Document = z.infer<typeof documentSchema>;

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

const HEAD = [
  '# Results',
  '',
  'Written by `npm run bench` and `npm run chaos` from the raw data beside it; [how to read and repeat it](../../docs/benchmarks.md).',
  'Ratios are of medians, contenders in turn in one run on one machine.',
];
const QUICK_HEAD = [
  '# Results of a quick run',
  '',
  'They show that every benchmark works: inputs are small, nothing warms up and nothing is repeated, whatever the method of a full run says. **They say nothing of speed.**',
];

/** README.md of a directory of results: the targets, every claim of every result with its plots, and where it was measured. */
export async function writePage(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.json')).sort();
  const read = async <Schema extends z.ZodType>(name: string, schema: Schema): Promise<z.infer<Schema>> =>
    schema.parse(JSON.parse(await readFile(join(directory, name), 'utf8')));
  const documents: Document[] = [];
  for (const name of names.filter((file) => !CHAOS.test(file)))
    documents.push(await read(name, documentSchema));
  const isQuick = documents.some((document) => document.isQuick);
  const chaos = [];
  for (const name of names.filter((file) => CHAOS.test(file)))
    chaos.push({ name, ...(await read(name, chaosSchema)) });
  const sections = [
    isQuick ? QUICK_HEAD : [...HEAD, '', ...targetSection(documents)],
    ...(chaos.length === 0 ? [] : [chaosSection(chaos)]),
    ...documents.map(sectionOf),
  ];
  const text = sections.map((lines) => lines.join('\n')).join('\n\n');
  await writeFile(join(directory, 'README.md'), `${text}\n`);
}

/** Draws the plots of all results of a directory again, as after a change of how they look. */
export async function drawAgain(directory: string): Promise<void> {
  for (const file of (await readdir(directory)).filter(
    (name) => name.endsWith('.json') && !CHAOS.test(name),
  )) {
    const document = documentSchema.parse(JSON.parse(await readFile(join(directory, file), 'utf8')));
    for (const [name, svg] of await drawPlots(document)) await writeFile(join(directory, name), svg);
  }
}

function targetSection(documents: readonly Document[]): string[] {
  return [
    '## Targets',
    '',
    'Of several figures the one that is furthest off.',
    '',
    '| what | target | seen | | raw data |',
    '| --- | --- | --- | --- | --- |',
    ...Object.values<Target>(TARGETS).map((target) => targetRow(target, documents)),
  ];
}

/** The figures that show a target. */
export function figuresShowing(
  { shownBy }: Target,
  documents: readonly Pick<Document, 'name' | 'claims'>[],
): number[] {
  return shownBy.flatMap(({ result, claims }) =>
    documents
      .filter(({ name }) => name === result)
      .flatMap((document) => document.claims)
      .flatMap(({ what, figure }) => (claims.test(what) && figure !== null ? [figure] : [])),
  );
}

function targetRow(target: Target, documents: readonly Document[]): string {
  const { what, bound, figure, unit, shownBy, whyMissed } = target;
  const aim = `${bound} ${format(figure)} ${unit}`;
  const figures = figuresShowing(target, documents);
  if (figures.length === 0) return `| ${what} | ${aim} | – | not measured yet | |`;
  const seen = bound === 'at most' ? Math.max(...figures) : Math.min(...figures);
  const holds = bound === 'at most' ? seen <= figure : seen >= figure;
  const by = `**missed by ${format(Math.abs(seen - figure))} ${unit}**`;
  const missed = whyMissed === undefined ? by : `${by}: ${whyMissed}`;
  const raw = [...new Set(shownBy.map(({ result }) => `[${result}](${result}.json)`))].join(', ');
  return `| ${what} | ${aim} | ${format(seen)} ${unit} | ${holds ? 'holds' : missed} | ${raw} |`;
}

function sectionOf(document: Document): string[] {
  const { name, title, method, isQuick, measuredAt, code, machine, claims, series, plots } = document;
  const claimRows = claims.map(({ what, figure, unit, target, holds }) => {
    const seen = figure === null ? '–' : `${format(figure)} ${unit}`;
    const judged = ` ${target} ${unit} | ${holds ? 'holds' : 'missed'} |`;
    return `| ${what} | ${seen} |${isQuick ? '' : judged}`;
  });
  const isSampled = series.some(({ samples }) => samples.length > 0);
  const pictures = [...(isSampled ? [name] : []), ...Object.keys(plots).map((suffix) => `${name}-${suffix}`)];
  const of = code === null ? '' : `, of ${code.commit.slice(0, 8)}${code.isClean ? '' : ' with changes'}`;
  return [
    `## ${title}`,
    '',
    ...(method === undefined ? [] : [method, '']),
    ...(claimRows.length === 0
      ? []
      : [
          isQuick ? '| what | seen |' : '| what | seen | target | |',
          isQuick ? '| --- | --- |' : '| --- | --- | --- | --- |',
          ...claimRows,
          '',
        ]),
    ...(isSampled ? [...seriesTable(document), ''] : []),
    ...pictures.flatMap((picture) => [`![${title}](${picture}.svg)`, '']),
    `Raw data: [${name}.json](${name}.json), ${measuredAt.slice(0, 10)}${of}; ${machine.cores} × ${machine.cpu}, Linux ${machine.kernel}, load ${machine.loadBefore.toFixed(1)} before.`,
  ];
}

/** The time of each series: its median, where that lies, and what it is of the baseline's. */
function seriesTable({ series, baseline }: Document): string[] {
  const [base] = baselinesOf({ series, baseline });
  const wallsOf = ({ samples }: Document['series'][number]) => samples.map(({ wallMs }) => wallMs);
  const rows = series
    .filter(({ samples }) => samples.length > 0)
    .map((one) => {
      const walls = wallsOf(one);
      const { least, most } = intervalOf(walls);
      const against = base === undefined ? '' : ` ${format(median(walls) / median(wallsOf(base)))} × |`;
      return `| ${one.name} | ${format(median(walls))} ms | ${format(least)} … ${format(most)} | ${walls.length} |${against}`;
    });
  return [
    `| time | median | it lies in | samples |${base === undefined ? '' : ` against ${base.name} |`}`,
    `| --- | --- | --- | --- |${base === undefined ? '' : ' --- |'}`,
    ...rows,
  ];
}

function chaosSection(runs: readonly ({ readonly name: string } & z.infer<typeof chaosSchema>)[]): string[] {
  const rows = runs.map(({ name, measuredAt, backend, backing, kills, reads, ...seen }) => {
    const killed = Object.values(kills).reduce((sum, count) => sum + count, 0);
    const longest = `${(seen.longestReadMs / 1000).toFixed(1)} s`;
    const raw = `[${name}](${name}), ${measuredAt.slice(0, 10)}`;
    return `| ${backend}, ${backing} | ${killed} | ${reads} | ${seen.wrong.length} | ${seen.failed.length} | ${longest} | ${seen.isContainerAlive ? 'goes on' : 'died'} | ${raw} |`;
  });
  return [
    '## Killed while others read',
    '',
    'Workers, holders, daemons, seeds, peers and the supernode are killed at random moments, while readers compare every byte of a lazy volume.',
    '',
    '| backend, backing | killed | reads | wrong | failed | longest read | a container meanwhile | raw data |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
  ];
}

/** Two decimals of what is small; whole numbers, in groups, of what is large. */
function format(figure: number): string {
  const digits = Math.abs(figure) >= 100 || Number.isInteger(figure) ? 0 : 2;
  return figure.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
