import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError, type ErrorCode } from '@drakkar/errors';
import { parseNumber } from '../command-line/number.ts';
import { type Context, EXIT_CODES } from '../context.ts';
import { supernodeClient } from '../supernode-place.ts';
import { plotsOf } from './plots.ts';
import { chooseHosts, type MeasureFlags, MOST_ROUNDS, specOf, type What } from './request.ts';
import { describeResult, type FleetResult, resultOf } from './result.ts';
import { type Round, runRound } from './rounds.ts';

/** Has hosts measure a pull or a start, keeps what they say, and says with the exit code whether all could. */
export async function bench(context: Context, what: What, image: string, flags: MeasureFlags): Promise<void> {
  const rounds = parseNumber(flags.rounds, '--rounds', [1, MOST_ROUNDS]);
  const client = await supernodeClient(context);
  const known = await client.hosts({}, { signal: context.signal });
  const chosen = chooseHosts(flags.hosts, known);
  const spec = specOf(what, image, chosen, flags);
  await mkdir(flags.output, { recursive: true });
  const measuredAt = new Date();
  const done: Round[] = [];
  while (chosen.hosts.length > 0 && done.length < rounds && !context.signal.aborted)
    done.push(await runRound(context, client, spec));
  const result = resultOf(spec, done, chosen.leftOut, measuredAt);
  const files = await keep(result, flags.output);
  context.answer({ ...result, files }, describeResult(result, files));
  process.exitCode = exitCodeOf(context, result);
}

async function keep(result: FleetResult, directory: string): Promise<string[]> {
  const raw = join(directory, `${result.name}.json`);
  await writeFile(raw, `${JSON.stringify(result, undefined, 2)}\n`);
  const files = [raw];
  for (const [name, svg] of await plotsOf(result)) {
    const file = join(directory, name);
    await writeFile(file, svg);
    files.push(file);
  }
  return files;
}

function exitCodeOf({ signal }: Context, { failures, series }: FleetResult): number {
  if (signal.aborted) return EXIT_CODES.cancelled;
  const [first] = failures;
  if (first !== undefined) return EXIT_CODES[first.code as ErrorCode];
  if (series.length > 0) return 0;
  throw new DrakkarError('not_found', 'no host of the cluster is connected', {
    hint: '`drakkar hosts` lists them',
  });
}
