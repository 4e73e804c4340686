/**
 * `npm run profile -- PATH… [--seconds N]`: where the time of hot paths goes. Each is under load for some seconds, and what ran meanwhile is drawn as a flame graph in
 * bench/results, beside its stacks, which other viewers read.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawFlameGraph } from './flame-graph.ts';
import { LOADS, type StartLoad } from './loads.ts';
import { startPerf } from './perf.ts';
import {
  foldProfile,
  mergeStacks,
  monotonicUs,
  parseProfile,
  type Stacks,
  selfTimes,
  type TimeWindow,
  totalUs,
} from './stacks.ts';

const RESULTS = join(import.meta.dirname, '../../results');
const SAMPLER = new URL('./sampler.ts', import.meta.url);
const SHOWN = 12;
/** Of all that ran; who took less is not kept. */
const LEAST_SHARE = 1 / 10_000;
/** Of a load. */
const MOST_HOSTS = 2;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '5' } },
});
const seconds = Number(values.seconds);
const names = positionals.length > 0 ? positionals : Object.keys(LOADS);
if (names.some((name) => !Object.hasOwn(LOADS, name)) || !(seconds > 0)) {
  process.stderr.write(`usage: npm run profile -- [--seconds N] [${Object.keys(LOADS).join('|')}]…\n`);
  process.exit(2);
}
for (const name of names) {
  const stacks = await profile(LOADS[name as keyof typeof LOADS], seconds);
  const leastUs = totalUs(stacks) * LEAST_SHARE;
  const seen = [...stacks].filter(([, us]) => us >= leastUs);
  const lines = seen.map(([stack, us]) => `${stack} ${Math.round(us)}\n`).sort();
  await writeFile(join(RESULTS, `flame-${name}.folded`), lines.join(''));
  await writeFile(join(RESULTS, `flame-${name}.svg`), drawFlameGraph(`What runs: ${name}`, stacks));
  console.log(`${name}: ${(totalUs(stacks) / 1e6).toFixed(2)} s; itself, without what it calls:`);
  for (const [frame, us] of selfTimes(stacks).slice(0, SHOWN))
    console.log(`${((100 * us) / totalUs(stacks)).toFixed(1).padStart(6)} %  ${frame}`);
}

async function profile(startLoad: StartLoad, seconds: number): Promise<Stacks> {
  const directory = await mkdtemp('/var/tmp/drakkar-profile-');
  const directoryOf = (index: number) => join(directory, `host-${index}`);
  for (let index = 0; index < MOST_HOSTS; index += 1) await mkdir(directoryOf(index));
  try {
    const windows: TimeWindow[] = [];
    let ofHelper: Stacks = new Map();
    const profiled: { readonly name: string; readonly index: number; readonly pid: number }[] = [];
    {
      await using load = await startLoad((index) => ({
        NODE_OPTIONS: `--import=${SAMPLER}?directory=${directoryOf(index)}`,
      }));
      for (const [name, { index, pid }] of Object.entries(load.hosts)) profiled.push({ name, index, pid });
      // Once, so that nothing is done for the first time.
      await (await load.prepare(0))();
      const perf =
        load.helper.length === 0
          ? undefined
          : await startPerf(load.helper, 'native helper', join(directory, 'perf.data'));
      if (load.helper.length > 0 && perf === undefined)
        console.log('perf is not here, or may not look: the native helper is left out');
      for (let turn = 1, lastedUs = 0; lastedUs < seconds * 1e6; turn += 1) {
        const work = await load.prepare(turn);
        const fromUs = monotonicUs();
        await work();
        const toUs = monotonicUs();
        windows.push({ fromUs, toUs });
        lastedUs += toUs - fromUs;
      }
      if (perf !== undefined) ofHelper = await perf.stop(windows);
    }
    // Profiles are written when processes end.
    const folded: Stacks[] = [ofHelper];
    for (const { name, index, pid } of profiled) {
      for (const file of await readdir(directoryOf(index))) {
        const of = parseProfile(await readFile(join(directoryOf(index), file), 'utf8'));
        const isDaemon = file === `${pid}.json`;
        folded.push(foldProfile(of, isDaemon ? name : `${name}: builder`, windows));
      }
    }
    return mergeStacks(folded);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
