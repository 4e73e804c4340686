import type { Policy } from '../documents.ts';
import { duration } from '../format.ts';
import { numberOf, type Places } from './issues.ts';
import { targetOf } from './jobs.ts';
import { linesOf } from './lines.ts';
import { EMPTY_ROLLOUT, ROLLOUT_PLACES, type Rollout, rollout, rolloutFields } from './rollout.ts';

const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;
const MEGABYTE = 1e6;

/** What a person writes in the form of a policy. */
export interface PolicyFields extends Rollout {
  readonly name: string;
  readonly enabled: boolean;
  /** One pattern a line. */
  readonly images: string;
  readonly onPush: boolean;
  readonly onFirstPull: boolean;
  readonly minMegabytes: string;
  readonly atOnce: string;
  readonly push: boolean;
  readonly distribute: '' | 'snapshot' | 'start' | 'layers';
  readonly refreshHours: string;
  readonly keepDays: string;
}

export const EMPTY_POLICY: PolicyFields = {
  ...EMPTY_ROLLOUT,
  name: '',
  enabled: true,
  images: '',
  onPush: true,
  onFirstPull: true,
  minMegabytes: '',
  atOnce: '',
  push: false,
  distribute: '',
  refreshHours: '',
  keepDays: '',
};

/** In what the API takes. */
export const POLICY_PLACES: Places<keyof PolicyFields> = {
  name: ['name'],
  enabled: ['enabled'],
  images: ['images'],
  onPush: ['on/push'],
  onFirstPull: ['on/firstPull'],
  minMegabytes: ['minSizeBytes'],
  atOnce: ['atOnce'],
  push: ['push'],
  distribute: ['distribute/content'],
  role: within('role'),
  labels: within('labels'),
  percentage: within('percentage'),
  hosts: within('hosts'),
  parallelism: within('parallelism'),
  refreshHours: ['refreshMs'],
  keepDays: ['keepMs'],
};

function within(field: keyof Rollout): string[] {
  return ROLLOUT_PLACES[field].map((place) => `distribute/${place}`);
}

/** As the API takes it. */
export function policyRequest(fields: PolicyFields): Record<string, unknown> {
  const { name, enabled, images, onPush, onFirstPull, push, distribute } = fields;
  return {
    name: name.trim(),
    enabled,
    images: linesOf(images),
    on: { push: onPush, firstPull: onFirstPull },
    minSizeBytes: numberOf(fields.minMegabytes, undefined, MEGABYTE),
    atOnce: numberOf(fields.atOnce, undefined),
    push,
    distribute: distribute === '' ? null : { content: distribute, ...rollout(fields) },
    refreshMs: numberOf(fields.refreshHours, null, HOUR_MS),
    keepMs: numberOf(fields.keepDays, null, DAY_MS),
  };
}

/** A policy that is there, as a person would write it. */
export function policyFields({ on, distribute, images, ...policy }: Policy): PolicyFields {
  const { name, enabled, push, atOnce, minSizeBytes, refreshMs, keepMs } = policy;
  const inUnits = (value: number | null, unit: number) => (value === null ? '' : String(value / unit));
  return {
    ...(distribute === null ? EMPTY_ROLLOUT : rolloutFields(distribute)),
    name,
    enabled,
    images: images.join('\n'),
    onPush: on.push,
    onFirstPull: on.firstPull,
    minMegabytes: minSizeBytes === 0 ? '' : inUnits(minSizeBytes, MEGABYTE),
    atOnce: String(atOnce),
    push,
    distribute: distribute === null ? '' : distribute.content,
    refreshHours: inUnits(refreshMs, HOUR_MS),
    keepDays: inUnits(keepMs, DAY_MS),
  };
}

/** A policy that is there, as the API takes it: with what is changed. */
export function changedPolicy(policy: Policy, change: Partial<Policy>): Record<string, unknown> {
  const { id: _, createdAtMs: __, createdBy: ___, changedAtMs: ____, ...request } = policy;
  return { ...request, ...change };
}

/** When a policy does something, in words. */
export function whenOf({ on, refreshMs }: Policy): string {
  const when = [
    ...(on.push ? ['on push'] : []),
    ...(on.firstPull ? ['on first pull'] : []),
    ...(refreshMs === null ? [] : [`every ${duration(refreshMs)}`]),
  ];
  return when.join(', ') || 'never by itself';
}

/** Which hosts get what it builds, in words. */
export const toWhom = ({ distribute }: Policy): string =>
  distribute === null
    ? 'none: they fetch what they start'
    : targetOf({ spec: { kind: 'preheat', ...distribute } });
