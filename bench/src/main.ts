/** `npm run bench`: measures, keeps raw data and plots, and says what holds, and what has become of earlier results. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BENCHMARKS } from './benchmarks.ts';
import { drawAgain, writePage } from './runner/page.ts';
import { earlierRuns, RESULTS } from './runner/results.ts';
import { runAll } from './runner/run.ts';

const QUICK_RESULTS = join(RESULTS, 'quick');
const ROUNDS = 5;

const USAGE = `usage: npm run bench -- [NAME…] [options]

Runs benchmarks, all when none is named, and keeps raw data, plots and a page that shows them. Most need root.

  --quick           small inputs and one round: shows in minutes that all of them work, and says nothing of speed
  --rounds N        runs of each contender; ${ROUNDS} when absent, of what takes long fewer
  --against PATH    says what became better or worse: raw data of an earlier run, one file or a directory
  --output DIR      where results are kept; bench/results when absent, bench/results/quick of quick ones
  --contender PATH  a module of a contender more for compare; as often as there are
  --page            runs nothing: draws plots and page again from the raw data that are there
  --help

${Object.entries(BENCHMARKS)
  .map(([name, { about }]) => `  ${name.padEnd(16)}  ${about}`)
  .join('\n')}

The last line is “N passed, N failed”: benchmarks that were measured, and those that were not, or not right. A target that
is missed is a result, not a failure.
`;

function fail(why: string): never {
  process.stderr.write(`${why}\n\n${USAGE}`);
  process.exit(2);
}

function argumentsOf() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        quick: { type: 'boolean', default: false },
        against: { type: 'string' },
        output: { type: 'string' },
        contender: { type: 'string', multiple: true, default: [] },
        page: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

const { values, positionals } = argumentsOf();
if (values.help) {
  process.stdout.write(USAGE);
  process.exit();
}
const isQuick = values.quick;
const rounds = Number(values.rounds ?? (isQuick ? 1 : ROUNDS));
if (!Number.isInteger(rounds) || rounds < 1) fail(`${values.rounds} is no number of rounds`);
const unknown = positionals.find((name) => !Object.hasOwn(BENCHMARKS, name));
if (unknown !== undefined) fail(`there is no benchmark ${unknown}`);
const directory = values.output ?? (isQuick ? QUICK_RESULTS : RESULTS);
const earlier = values.against === undefined ? undefined : await earlierRuns(values.against);

if (values.page) {
  await drawAgain(directory);
  await writePage(directory);
  process.exit();
}
// What an earlier quick run has left would seem to be of this one.
if (isQuick && values.output === undefined) await rm(directory, { recursive: true, force: true });
const selected = Object.entries(BENCHMARKS).filter(
  ([name]) => positionals.length === 0 || positionals.includes(name),
);
const { passed, failed } = await runAll(selected, {
  rounds,
  isQuick,
  directory,
  earlier,
  contenders: values.contender,
});
console.log(`\n${passed} passed, ${failed} failed`);
// Whatever a benchmark that failed has left open must not keep this process.
process.exit(failed > 0 ? 1 : 0);
