/** All tests, then all benchmarks in their quick form. Ends with `N passed, N failed` over both. */
import { type Count, conclude, run } from './run.ts';

/** By the last line of its output; without one, or where it ended badly, at least one has failed. */
async function countsOf(args: string[]): Promise<Count> {
  const { ok, output } = await run('npm', args, true);
  const [, passed = 0, failed = 1] = /(\d+) passed, (\d+) failed\s*$/.exec(output) ?? [];
  return { passed: Number(passed), failed: Math.max(Number(failed), ok ? 0 : 1) };
}

const tests = await countsOf(['test']);
const benchmarks = await countsOf(['run', 'bench', '--', '--quick']);
conclude([tests, benchmarks]);
