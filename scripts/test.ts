/**
 * All tests: checks, then cargo, then vitest (unit, integration, e2e). Ends with `N passed, N failed` over all of them.
 * With arguments only vitest runs, with these: `npm test -- --project unit store`.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { type Count, conclude, run } from './run.ts';

const vitestReport = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numFailedTestSuites: z.number(),
});

const root = join(import.meta.dirname, '..');

async function checks(): Promise<Count> {
  const { ok } = await run('scripts/check', [], false);
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1 };
}

async function cargo(): Promise<Count> {
  const args = ['test', '--release', '--locked', '--manifest-path', 'native/Cargo.toml'];
  const { ok, output } = await run('cargo', args, true);
  const results = [...output.matchAll(/^test result: .* (\d+) passed; (\d+) failed/gm)];
  const sum = (group: number) => results.reduce((total, match) => total + Number(match[group]), 0);
  return { passed: sum(1), failed: Math.max(sum(2), ok ? 0 : 1) };
}

async function vitest(selection: string[]): Promise<Count> {
  const directory = await mkdtemp(join(tmpdir(), 'drakkar-test-'));
  const report = join(directory, 'report.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const { ok } = await run(
      process.execPath,
      ['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...selection],
      false,
    );
    const counts = vitestReport.parse(JSON.parse(await readFile(report, 'utf8')));
    // On CI every part must be there: a skipped test is a failed one.
    const skipped = process.env.CI && selection.length === 0 ? counts.numPendingTests : 0;
    const failed = counts.numFailedTests + skipped;
    return { passed: counts.numPassedTests, failed: Math.max(failed, ok ? 0 : 1) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Goes on beside what does not need it, and takes from it what is left over alone. */
function makeAhead(): void {
  const line = ['-n', '19', process.execPath, 'scripts/make-ahead.ts'];
  const child = spawn('nice', line, { cwd: root, stdio: 'ignore' });
  child.on('error', () => {});
  child.unref();
}

const selection = process.argv.slice(2);
if (selection.length === 0) makeAhead();
const counts =
  selection.length > 0 ? [await vitest(selection)] : [await checks(), await cargo(), await vitest([])];
conclude(counts);
