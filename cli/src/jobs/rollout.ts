import { DrakkarError } from '@drakkar/errors';
import type { Flags, OptionSpecs } from '../command-line/options.ts';

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
      ...(percentage === undefined ? {} : { percentage: numberOf(percentage, '--percentage') }),
      ...(hosts === undefined ? {} : { hosts: numberOf(hosts, '--hosts') }),
    },
    parallelism: parallelism.endsWith('%') ? parallelism : numberOf(parallelism, '--parallelism'),
    stopAfterFailures: stopAfter === undefined ? null : numberOf(stopAfter, '--stop-after'),
    keep,
  };
}

function labelOf(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new DrakkarError('invalid_argument', `${JSON.stringify(text)} is no label; write it as NAME=VALUE`);
}

function numberOf(text: string, option: string): number {
  if (/^[1-9][0-9]{0,5}$/.test(text)) return Number(text);
  throw new DrakkarError('invalid_argument', `${option} is a number, not ${JSON.stringify(text)}`);
}
