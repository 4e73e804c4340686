import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atLeast, atMost, type Result, type Scenario } from '@drakkar/bench';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { drawAgain, writePage } from '../../src/runner/page.ts';
import { all, earlierRuns } from '../../src/runner/results.ts';
import { runAll } from '../../src/runner/run.ts';

let directory: string;
const said = vi.spyOn(console, 'log').mockImplementation(() => {});
vi.spyOn(console, 'error').mockImplementation(() => {});

beforeEach(async () => {
  said.mockClear();
  directory = await mkdtemp(join(tmpdir(), 'drakkar-results-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const walls = (...all: number[]) => all.map((wallMs) => ({ wallMs }));

function resultOf(name: string, changes: Partial<Result> = {}): Result {
  return {
    name,
    title: `About ${name}`,
    method: 'By a clock.',
    series: [
      { name: 'nginx', samples: walls(90, 110, 100, 95, 105, 100) },
      { name: 'drakkar', samples: walls(50, 40, 60, 45, 55, 50) },
    ],
    claims: [atLeast('speed', 2, '×', 3)],
    input: {},
    ...changes,
  };
}

const benchmark = (run: Scenario) => ({ about: '', run });
const gives = (...results: Result[]) => benchmark(async () => results);
const quick = { rounds: 1, isQuick: true };
const pageOf = () => readFile(join(directory, 'README.md'), 'utf8');

describe('a run', () => {
  test('goes on after a benchmark that fails, and counts it', async () => {
    const fails = benchmark(async () => {
      throw new Error('no root');
    });
    const counts = await runAll(
      [
        ['one', gives(resultOf('one'))],
        ['two', fails],
        ['three', gives()],
        ['four', gives(resultOf('four'))],
      ],
      { ...quick, directory },
    );
    expect(counts).toEqual({ passed: 2, failed: 2 });
    expect((await readdir(directory)).sort()).toEqual([
      ...['README.md', 'four.json', 'four.svg', 'one.json', 'one.svg'],
    ]);
  });

  test('fails of what cannot be, and not of a target that is missed', async () => {
    const passes = async (claim: Result['claims'][number]) =>
      (await runAll([['one', gives(resultOf('one', { claims: [claim] }))]], { ...quick, directory }))
        .passed === 1;
    expect(await passes(atMost('time', 5, 'ms', 1))).toBe(true);
    expect(await passes(atMost('time', Number.NaN, 'ms', 1))).toBe(false);
    expect(await passes(all('images that were built', 0.99))).toBe(false);
    expect(await passes(all('images that were built', 1))).toBe(true);
    await expect(pageOf()).resolves.toContain('About one');
  });

  test('keeps the machine, the code and what was asked for', async () => {
    await runAll([['one', gives(resultOf('one'))]], { ...quick, directory });
    expect(JSON.parse(await readFile(join(directory, 'one.json'), 'utf8'))).toMatchObject({
      name: 'one',
      isQuick: true,
      rounds: 1,
      machine: { cores: expect.any(Number), governor: expect.toSatisfy((it) => it === null || it !== '') },
      tools: expect.any(Object),
    });
  });

  test('is compared with its like only', async () => {
    await runAll([['one', gives(resultOf('one'))]], { ...quick, directory });
    const earlier = await earlierRuns(directory);
    const marks = () => said.mock.calls.filter(([line]) => /^[=↑↓]/.test(String(line))).length;
    await runAll([['one', gives(resultOf('one'))]], { ...quick, directory, earlier });
    expect(marks()).toBe(2);
    await runAll([['one', gives(resultOf('one'))]], { rounds: 1, isQuick: false, directory, earlier });
    expect(marks()).toBe(2);
  });
});

describe('the page', () => {
  test('says the median, where it lies, and what it is of the baseline', async () => {
    await runAll([['one', gives(resultOf('one'))]], { rounds: 6, isQuick: false, directory });
    const page = await pageOf();
    expect(page).toContain('| drakkar | 50 ms | 40 … 60 | 6 | 0.50 × |');
    expect(page).toContain('| speed | 2 × | 3 × | missed |');
    expect(page).toContain('| not measured yet |');
  });

  test('holds the furthest figure against a target', async () => {
    const claims = [atLeast('mirror: rate, against nginx with sendfile', 0.4, '×', 0.5)];
    await runAll([['mirror', gives(resultOf('mirror', { claims }))]], {
      rounds: 6,
      isQuick: false,
      directory,
    });
    expect(await pageOf()).toContain(
      '| at least 0.50 × | 0.40 × | **missed by 0.10 ×** | [mirror](mirror.json) |',
    );
  });

  test('of a quick run judges no speed', async () => {
    await runAll([['one', gives(resultOf('one'))]], { ...quick, directory });
    expect(await pageOf()).not.toMatch(/missed|## Targets/);
  });

  test('and its plots are made again from raw data alone', async () => {
    const growth = {
      kind: 'lines' as const,
      title: 'How it grows',
      x: { title: 'hosts' },
      y: { title: 'time', unit: 's' },
      series: [{ name: 'drakkar', points: [{ x: 1, y: 2 }] }],
    };
    await runAll([['one', gives(resultOf('one', { plots: { growth } }))]], { ...quick, directory });
    const files = ['README.md', 'one.svg', 'one-growth.svg'].map((name) => join(directory, name));
    const read = () => Promise.all(files.map((file) => readFile(file, 'utf8')));
    const before = await read();
    expect(before[0]).toContain('![About one](one-growth.svg)');
    for (const file of files) await rm(file);
    await drawAgain(directory);
    await writePage(directory);
    expect(await read()).toEqual(before);
  });
});
