/** `npm run chaos -- [--kills N] [--backend fanotify|fuse] [--backing auto|file|loop]`: kills everything, and keeps what came of it in bench/results. */
import { parseArgs } from 'node:util';
import { writePage } from '../runner/page.ts';
import { keepChaos, RESULTS } from '../runner/results.ts';
import { runChaos } from './chaos.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '10000' },
    backend: { type: 'string', default: 'fanotify' },
    backing: { type: 'string', default: 'auto' },
  },
});
const kills = Number(values.kills);
const backend = (['fanotify', 'fuse'] as const).find((known) => known === values.backend);
const backing = (['auto', 'file', 'loop'] as const).find((known) => known === values.backing);
if (!Number.isInteger(kills) || kills < 1 || backend === undefined || backing === undefined) {
  process.stderr.write(
    'usage: npm run chaos -- [--kills N] [--backend fanotify|fuse] [--backing auto|file|loop]\n',
  );
  process.exit(2);
}
const result = await runChaos({
  kills,
  backend,
  backing,
  onRound: ({ round, kills: killed, reads, wrong, failed, longestMs }) =>
    process.stderr.write(
      `round ${round}: ${killed} killed so far; ${reads} reads, ${wrong} wrong, ${failed} failed, the longest ${Math.round(longestMs)} ms\n`,
    ),
});
await keepChaos(result);
await writePage(RESULTS);
const isRight = result.wrong.length + result.failed.length === 0 && result.isContainerAlive;
console.log(
  `${isRight ? 'right' : 'WRONG'}: ${JSON.stringify(result.kills)} killed; of ${result.reads} reads ${result.wrong.length} wrong and ${result.failed.length} failed`,
);
process.exitCode = isRight ? 0 : 1;
