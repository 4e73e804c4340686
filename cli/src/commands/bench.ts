import { MEASURE, RATE } from '../bench/request.ts';
import { defineCommand } from '../command-line/command.ts';

const NOTES =
  'Hosts take part where their daemon’s configuration has `measurements.allowed`. They measure one thing at a time, within their own limits, evict nothing for it, and give up afterwards what it brought. Raw data and plots are kept in --output; the exit code says whether every host could.';

/** `drakkar bench …`: what pulls and starts take on hosts of a running cluster. */
export const commands = [
  defineCommand({
    name: 'bench pull',
    summary: 'measure what it takes hosts of the cluster to pull an image, and draw it',
    notes: NOTES,
    configures: 'supernode',
    positionals: ['<image>'],
    options: { ...MEASURE, ...RATE },
    run: async (context, [image], flags) =>
      (await import('../bench/bench.ts')).bench(context, 'pull', image, flags),
  }),
  defineCommand({
    name: 'bench start',
    summary:
      'measure what it takes hosts of the cluster until a container of an image could start, and draw it',
    notes: `The image’s snapshot, which the cluster must have, is mounted, and what starts of it are known to read is fetched; no program of the image runs. ${NOTES}`,
    configures: 'supernode',
    positionals: ['<image>'],
    options: MEASURE,
    run: async (context, [image], flags) =>
      (await import('../bench/bench.ts')).bench(context, 'start', image, flags),
  }),
];
