/**
 * `npm run bench -- SCENARIO… [--rounds N] [--quick] [--against PATH] [--contender PATH]…`: measures, keeps raw data and plots in bench/results, and says what holds, and what has
 * become of earlier results (a file of raw data, or a directory of them).
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { compare, describeDifference } from './runner/compare.ts';
import { describeClaim, earlierRuns, keepResult, summarise } from './runner/results.ts';
import type { Scenario } from './scenario.ts';
import { autonomy } from './scenarios/autonomy.ts';
import { build } from './scenarios/build.ts';
import { burst } from './scenarios/burst.ts';
import { coldStart } from './scenarios/cold-start.ts';
import { compare as compareContenders } from './scenarios/compare.ts';
import { consoleFrames } from './scenarios/console.ts';
import { control } from './scenarios/control.ts';
import { cri } from './scenarios/cri.ts';
import { distribute } from './scenarios/distribute.ts';
import { fill } from './scenarios/fill.ts';
import { idle } from './scenarios/idle.ts';
import { jobs } from './scenarios/jobs.ts';
import { kubernetes } from './scenarios/kubernetes.ts';
import { memory } from './scenarios/memory.ts';
import { mirror } from './scenarios/mirror.ts';
import { mirrorCrowd } from './scenarios/mirror-crowd.ts';
import { mixed } from './scenarios/mixed.ts';
import { read } from './scenarios/read.ts';
import { snapshots } from './scenarios/snapshots.ts';
import { soak } from './scenarios/soak.ts';
import { start } from './scenarios/start.ts';
import { supernodeLoss } from './scenarios/supernode-loss.ts';
import { supernodes } from './scenarios/supernodes.ts';
import { update } from './scenarios/update.ts';
import { updateWave } from './scenarios/update-wave.ts';
import { webhooks } from './scenarios/webhooks.ts';
import { wire } from './scenarios/wire.ts';

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  build,
  memory,
  start,
  mirror,
  distribute,
  wire,
  control,
  jobs,
  supernode: async (options) => [...(await supernodes(options)), ...(await webhooks(options))],
  console: consoleFrames,
  kubernetes,
  idle,
  'cold-start': coldStart,
  update,
  read,
  fill,
  burst,
  snapshots,
  cri,
  compare: compareContenders,
  'mirror-crowd': mirrorCrowd,
  mixed,
  'update-wave': updateWave,
  autonomy,
  'supernode-loss': supernodeLoss,
  soak,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    against: { type: 'string' },
    contender: { type: 'string', multiple: true, default: [] },
  },
});
const isQuick = values.quick;
const rounds = Number(values.rounds ?? (isQuick ? 1 : 5));
const names = positionals.length > 0 ? positionals : Object.keys(SCENARIOS);
const unknown = names.find((name) => !(name in SCENARIOS));
if (unknown !== undefined || !Number.isInteger(rounds) || rounds < 1) {
  process.stderr.write(
    `usage: npm run bench -- [--rounds N] [--quick] [--against PATH] [--contender PATH]… [${Object.keys(SCENARIOS).join('|')}]…\n`,
  );
  process.exit(2);
}

const earlier = values.against === undefined ? undefined : await earlierRuns(values.against);
for (const name of names) {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) continue;
  const loadBefore = loadavg()[0] ?? 0;
  const onSample = (contender: string, round: number, { wallMs }: { wallMs: number }) => {
    process.stderr.write(`${name} ${round + 1}: ${contender} ${wallMs.toFixed(1)} ms\n`);
  };
  for (const result of await scenario({ rounds, isQuick, onSample, contenders: values.contender })) {
    await keepResult(result, loadBefore);
    for (const claim of result.claims) console.log(describeClaim(claim));
    const before = earlier?.get(result.name);
    for (const difference of before === undefined ? [] : compare(before, result))
      console.log(describeDifference(difference));
  }
}
await summarise();
