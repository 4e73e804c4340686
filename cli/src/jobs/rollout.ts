import { DrakkarError } from '@drakkar/errors';
import { parseNumber } from '../command-line/number.ts';
import type { Flags, OptionSpecs } from '../command-line/options.ts';

/** How many a cluster may have, as the API has it. */
const HOSTS = [1, 100_000] as const;

/** Options of what hosts are to have: which, how many at a time, and what failures mean. */
export const ROLLOUT = {
  role: { value: 'role', choices: ['seed', 'builder'], summary: 'hosts with this role alone' },
  label: {
    value: 'name=value',
    multiple: true,
    summary: 'hosts with this label alone; several must all be there',
  },
  percentage: { value: 'number', summary: 'so many per cent of them, chosen by lot' },
  hosts: { value: 'number', summary: 'until so many of them have it' },
  parallelism: { value: 'number|%', default: '100', summary: 'hosts at the same time' },
  'stop-after': { value: 'number', summary: 'so many hosts that failed end it on the others, too' },
  keep: { summary: 'it does not end: hosts that come later, or lose it, are brought in line, too' },
  detach: { summary: 'print the job, and do not wait for its end' },
} as const satisfies OptionSpecs;

/** As the API has it. Pure. @throws `invalid_argument` */
export function rolloutOf(flags: Flags<typeof ROLLOUT>) {
  const { role, label, percentage, hosts, parallelism, keep } = flags;
  const stopAfter = flags['stop-after'];
  const labels = Object.fromEntries(label.map(labelOf));
  return {
    target: {
      ...(role === undefined ? {} : { role }),
      ...(label.length === 0 ? {} : { labels }),
      ...(percentage === undefined ? {} : { percentage: parseNumber(percentage, '--percentage', [1, 100]) }),
      ...(hosts === undefined ? {} : { hosts: parseNumber(hosts, '--hosts', HOSTS) }),
    },
    parallelism: parallelism.endsWith('%') ? parallelism : parseNumber(parallelism, '--parallelism', HOSTS),
    stopAfterFailures: stopAfter === undefined ? null : parseNumber(stopAfter, '--stop-after', HOSTS),
    keep,
  };
}

function labelOf(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new DrakkarError('invalid_argument', `${JSON.stringify(text)} is no label; write it as NAME=VALUE`);
}
