import type { Benchmark } from '../benchmarks.ts';
import { compare, describeDifference, type Measured } from './compare.ts';
import { type Facts, findFacts, loadNow } from './facts.ts';
import { writePage } from './page.ts';
import { describeClaim, keepResult, type Result, wrongIn } from './results.ts';

export interface RunOptions {
  readonly rounds: number;
  readonly isQuick: boolean;
  /** Where results are kept. */
  readonly directory: string;
  /** Modules of contenders that others have written, for the comparison. */
  readonly contenders?: readonly string[];
  /** By the names of results: what is compared with. */
  readonly earlier?: ReadonlyMap<string, Measured> | undefined;
}

/** Of a benchmark's quick form: one that hangs must not hold up all others. */
const QUICK_DEADLINE_MS = 5 * 60_000;

/** Runs one benchmark after the other, and writes the page; one that fails does not stop the others. */
export async function runAll(
  benchmarks: Iterable<readonly [name: string, benchmark: Benchmark]>,
  options: RunOptions,
): Promise<{ readonly passed: number; readonly failed: number }> {
  const facts = await findFacts();
  const counts = { passed: 0, failed: 0 };
  for (const [name, benchmark] of benchmarks) {
    const startedMs = performance.now();
    const isRight = await runOne(name, benchmark, facts, options).catch((error: unknown) => {
      console.error(error);
      return false;
    });
    counts[isRight ? 'passed' : 'failed'] += 1;
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    console.log(`${isRight ? 'passed' : 'FAILED'}: ${name}, ${seconds} s`);
  }
  await writePage(options.directory);
  return counts;
}

/** @returns whether all of its results can be */
async function runOne(
  name: string,
  { run }: Benchmark,
  facts: Facts,
  { rounds, isQuick, directory, earlier, contenders = [] }: RunOptions,
): Promise<boolean> {
  const loadBefore = loadNow();
  const onSample = (contender: string, round: number, { wallMs }: { wallMs: number }) => {
    process.stderr.write(`${name} ${round + 1}: ${contender} ${wallMs.toFixed(1)} ms\n`);
  };
  const running = run({ rounds, isQuick, contenders, onSample });
  const results = await (isQuick ? within(QUICK_DEADLINE_MS, running) : running);
  let isRight = results.length > 0;
  for (const result of results) {
    const circumstances = { ...facts, isQuick, rounds, loadBefore, loadAfter: loadNow() };
    await keepResult(directory, result, circumstances);
    isRight = say(result, isQuick, earlier?.get(result.name)) && isRight;
  }
  return isRight;
}

/** @returns whether the result can be */
function say(result: Result, isQuick: boolean, before: Measured | undefined): boolean {
  for (const claim of result.claims) console.log(describeClaim(claim, isQuick));
  for (const difference of before === undefined ? [] : compare(before, { ...result, isQuick }))
    console.log(describeDifference(difference));
  const wrong = wrongIn(result);
  for (const claim of wrong) console.log(`WRONG: ${describeClaim(claim)}`);
  return wrong.length === 0;
}

async function within<Value>(deadlineMs: number, work: Promise<Value>): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`it did not end within ${deadlineMs / 1000} s`)),
    deadlineMs,
  );
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
