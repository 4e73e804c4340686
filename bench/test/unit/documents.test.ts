import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { documentSchema, figuresShowing } from '../../src/runner/page.ts';
import { median } from '../../src/runner/samples.ts';
import { TARGETS, type Target } from '../../src/targets.ts';

const ROOT = join(import.meta.dirname, '../../..');
const RAW = 'raw data';
/** Of what raw data is in: thousands of milliseconds, 1,024 MiB. */
const LARGER = [1, 1_000, 1_024];

const rawSchema = z.object({
  claims: z.array(z.object({ figure: z.number() })).default([]),
  series: z.array(z.object({ samples: z.array(z.object({ wallMs: z.number() })) })).default([]),
  kills: z.record(z.string(), z.number()).default({}),
});

const claimsSchema = documentSchema.pick({ name: true, claims: true });

interface Row {
  readonly document: string;
  readonly what: string;
  readonly seen: string;
  /** The paths of raw data. */
  readonly raw: readonly string[];
}

/** Rows of the tables that say where their numbers are from. */
function rowsOf(document: string): Row[] {
  const rows: Row[] = [];
  let header: string[] = [];
  for (const line of readFileSync(join(ROOT, document), 'utf8').split('\n')) {
    const cells = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    if (cells.length === 0) header = [];
    else if (header.length === 0) header = cells;
    else if (header.includes(RAW) && !/^-+$/.test(cells[0] ?? '')) {
      const links = (cells[header.indexOf(RAW)] ?? '').matchAll(/\]\(([^)]+)\)/g);
      const raw = [...links].map(([, path = '']) => join(ROOT, dirname(document), path));
      rows.push({ document, what: cells[0] ?? '', seen: cells[header.indexOf('seen')] ?? '', raw });
    }
  }
  return rows;
}

/** All figures that raw data comes to. */
function figuresOf(path: string): number[] {
  const { claims, series, kills } = rawSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  const killed = Object.values(kills).reduce((sum, count) => sum + count, 0);
  const medians = series.map(({ samples }) => median(samples.map(({ wallMs }) => wallMs)));
  return [...claims.map(({ figure }) => figure), ...medians, killed];
}

const documents = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => join('docs', name))].filter(
  (name) => name.endsWith('.md'),
);
const rows = documents.flatMap(rowsOf);

/** What the code waits for, or a formula: it is chosen, not measured. */
const CHOSEN = ['300 ms', '40 ms'];
/** A speed, a time or a ratio that only a measurement can show. */
const FIGURE = /\d[\d,]*(?:\.\d+)? (?:×|ms\b|MB\/s|decisions a second)/g;

/** Paragraphs and items that hold measured figures: all but code, and rows that say where theirs are from. */
function figuresInProse(document: string): Row[] {
  const text = readFileSync(join(ROOT, document), 'utf8').replaceAll(/^```[\s\S]*?^```$/gm, '');
  const known = new Set(rows.map(({ seen }) => seen));
  return text.split(/\n\s*\n|\n(?=\s*(?:[-*]|\d+\.|\|) ?)/).flatMap((block) => {
    if (known.has(block.split('|')[2]?.trim() ?? '')) return [];
    const figures = [...block.replaceAll(/`[^`]*`/g, '').matchAll(FIGURE)].map(([figure]) => figure);
    const measured = figures.filter((figure) => !CHOSEN.includes(figure));
    const raw = linksIn(document, block).filter((path) => path.endsWith('.json'));
    return measured.length === 0
      ? []
      : [{ document, what: block.slice(0, 60), seen: measured.join(', '), raw }];
  });
}

/** The paths that a text of a document links to in bench/results. */
function linksIn(document: string, text: string): string[] {
  return [...text.matchAll(/\]\(([^)#]+)\)/g)]
    .map(([, path = '']) => join(ROOT, dirname(document), path))
    .filter((path) => path.startsWith(join(ROOT, 'bench/results/')));
}

/** Numbers of a text that none of some raw data comes to. */
function unseen(text: string, raw: readonly string[]): string[] {
  const figures = raw.flatMap(figuresOf);
  const numbers = [...text.replaceAll(/`[^`]*`/g, '').matchAll(/\d[\d,]*(?:\.\d+)?/g)].map(
    ([number]) => number,
  );
  expect(numbers).not.toEqual([]);
  return numbers.filter((number) => {
    const plain = number.replaceAll(',', '');
    const decimals = plain.split('.')[1]?.length ?? 0;
    return !figures.some((figure) => LARGER.some((times) => (figure / times).toFixed(decimals) === plain));
  });
}

test('there are numbers, and all say where they are from', () => {
  expect(rows.length).toBeGreaterThan(20);
});

test.each(rows)('$document: $what', ({ seen, raw }) => {
  expect(raw).not.toEqual([]);
  expect(unseen(seen, raw), seen).toEqual([]);
});

test.each(documents.flatMap(figuresInProse))('$document says where it has from: $what', ({ seen, raw }) => {
  expect(raw, `${seen} stands beside no link to raw data`).not.toEqual([]);
  expect(unseen(seen, raw), seen).toEqual([]);
});

test.each(documents)('what %s shows of results is there, plots with their raw data', (document) => {
  const links = linksIn(document, readFileSync(join(ROOT, document), 'utf8'));
  expect(links.filter((path) => !existsSync(path))).toEqual([]);
  const names = readdirSync(join(ROOT, 'bench/results')).flatMap(
    (name) => /^(.*)\.(?:json|folded)$/.exec(name)?.[1] ?? [],
  );
  const plots = links.filter((path) => path.endsWith('.svg')).map((path) => basename(path, '.svg'));
  expect(plots.filter((plot) => !names.some((name) => plot === name || plot.startsWith(`${name}-`)))).toEqual(
    [],
  );
});

const costSchema = z.object({
  series: z.array(
    z.object({
      samples: z.array(z.object({ cpuSecondsPerGigabyte: z.record(z.string(), z.number()) })),
    }),
  ),
});

test('what a gigabyte costs is what its raw data comes to', () => {
  const { series } = costSchema.parse(JSON.parse(readFileSync(pathOf('cost'), 'utf8')));
  const wanted = series.map(({ samples }) => {
    const parts = Object.keys(samples[0]?.cpuSecondsPerGigabyte ?? {});
    return parts.map((part) =>
      median(samples.map(({ cpuSecondsPerGigabyte }) => cpuSecondsPerGigabyte[part] ?? Number.NaN)).toFixed(
        2,
      ),
    );
  });
  const [, table = ''] = readFileSync(join(ROOT, 'docs/benchmarks.md'), 'utf8').split('| CPU-seconds for ');
  const [, , ...rows] = table.split('\n\n')[0]?.split('\n') ?? [];
  expect(rows.map((row) => row.match(/\b\d+\.\d\d\b/g))).toEqual(wanted);
});

test('every target is shown by raw data that are there, or says that nobody has measured it', () => {
  const results = Object.values<Target>(TARGETS).flatMap(({ shownBy }) =>
    shownBy.map(({ result }) => result),
  );
  const read = (name: string) => claimsSchema.parse(JSON.parse(readFileSync(pathOf(name), 'utf8')));
  const documentsOf = ({ shownBy }: Target) => shownBy.map(({ result }) => read(result));
  for (const name of results) expect(existsSync(pathOf(name)), name).toBe(true);
  const page = readFileSync(join(ROOT, 'bench/results/README.md'), 'utf8');
  for (const target of Object.values<Target>(TARGETS)) {
    const row = page.split('\n').find((line) => line.startsWith(`| ${target.what} |`));
    expect(row, target.what).toBeDefined();
    if (target.shownBy.length === 0) expect(row).toContain('not measured yet');
    else expect(figuresShowing(target, documentsOf(target)), target.what).not.toEqual([]);
  }
});

const pathOf = (name: string) => join(ROOT, 'bench/results', `${name}.json`);
