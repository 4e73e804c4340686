import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { median } from '../../src/runner/samples.ts';

const ROOT = join(import.meta.dirname, '../../..');
const RAW = 'raw data';
/** Of what raw data is in: thousands of milliseconds, 1,024 MiB. */
const LARGER = [1, 1_000, 1_024];

const rawSchema = z.object({
  claims: z.array(z.object({ figure: z.number() })).default([]),
  series: z.array(z.object({ samples: z.array(z.object({ wallMs: z.number() })) })).default([]),
  kills: z.record(z.string(), z.number()).default({}),
});

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

const documents = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => join('docs', name))];
const rows = documents.filter((name) => name.endsWith('.md')).flatMap(rowsOf);

test('there are numbers, and all say where they are from', () => {
  expect(rows.length).toBeGreaterThan(20);
});

test.each(rows)('$document: $what', ({ seen, raw }) => {
  expect(raw).not.toEqual([]);
  const figures = raw.flatMap(figuresOf);
  const numbers = [...seen.replaceAll(/`[^`]*`/g, '').matchAll(/\d[\d,]*(?:\.\d+)?/g)];
  expect(numbers).not.toEqual([]);
  for (const [text] of numbers) {
    const number = text.replaceAll(',', '');
    const decimals = number.split('.')[1]?.length ?? 0;
    const isSeen = figures.some((figure) =>
      LARGER.some((times) => (figure / times).toFixed(decimals) === number),
    );
    expect(isSeen, `${text} of “${seen}”`).toBe(true);
  }
});
