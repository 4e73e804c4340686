import type { RolloutDocument } from '../documents.ts';
import { numberOf, type Places } from './issues.ts';
import { linesOf } from './lines.ts';

/** Which hosts, and how many of them at a time, as a person writes it. */
export interface Rollout {
  readonly role: string;
  /** One a line. */
  readonly labels: string;
  readonly percentage: string;
  readonly hosts: string;
  readonly parallelism: string;
}

export const EMPTY_ROLLOUT: Rollout = { role: '', labels: '', percentage: '', hosts: '', parallelism: '' };

/** In what the API takes. */
export const ROLLOUT_PLACES: Places<keyof Rollout> = {
  role: ['target/role'],
  labels: ['target/labels'],
  percentage: ['target/percentage'],
  hosts: ['target/hosts'],
  parallelism: ['parallelism'],
};

/** As the API takes it: what is empty is left to the supernode. */
export function rollout({ role, labels, percentage, hosts, parallelism }: Rollout): Record<string, unknown> {
  const wanted = parseLabels(labels);
  const target = {
    ...(role === '' ? {} : { role }),
    ...(Object.keys(wanted).length === 0 ? {} : { labels: wanted }),
    percentage: numberOf(percentage, undefined),
    hosts: numberOf(hosts, undefined),
  };
  return { target, parallelism: numberOf(parallelism, undefined) };
}

/** What the API gives, as a person would write it. */
export function rolloutFields({
  target: { role = '', labels = {}, percentage, hosts } = {},
  parallelism,
}: RolloutDocument): Rollout {
  const lines = Object.entries(labels).map((label) => label.join('='));
  const text = (value: number | string | undefined) => (value === undefined ? '' : String(value));
  return {
    role,
    labels: lines.join('\n'),
    percentage: text(percentage),
    hosts: text(hosts),
    parallelism: text(parallelism),
  };
}

/** `rack=a1`, one a line. */
export function parseLabels(text: string): Record<string, string> {
  return Object.fromEntries(
    linesOf(text).map((line) => {
      const [name = '', value = ''] = line.split(/=(.*)/s);
      return [name, value];
    }),
  );
}
