import type { Policy } from '../documents.ts';
import { duration } from '../format.ts';
import { rollout } from './job-form.ts';
import { targetOf } from './jobs.ts';

const HOUR_MS = 60 * 60_000;

/** What a person writes in the form of a new policy. */
export interface PolicyFields {
  readonly name: string;
  /** One pattern a line. */
  readonly images: string;
  readonly onPush: boolean;
  readonly onFirstPull: boolean;
  readonly push: boolean;
  readonly distribute: '' | 'snapshot' | 'start' | 'layers';
  readonly role: string;
  readonly labels: string;
  readonly percentage: string;
  readonly parallelism: string;
  readonly refreshHours: string;
  readonly keepDays: string;
}

export const EMPTY_POLICY: PolicyFields = {
  name: '',
  images: '',
  onPush: true,
  onFirstPull: true,
  push: false,
  distribute: '',
  role: '',
  labels: '',
  percentage: '',
  parallelism: '',
  refreshHours: '',
  keepDays: '',
};

/** As the API takes it. */
export function policyRequest(fields: PolicyFields): Record<string, unknown> {
  const { name, images, onPush, onFirstPull, push, distribute, refreshHours, keepDays } = fields;
  return {
    name: name.trim(),
    images: patternsOf(images),
    on: { push: onPush, firstPull: onFirstPull },
    push,
    distribute: distribute === '' ? null : { content: distribute, ...rollout(fields) },
    refreshMs: inMs(refreshHours, HOUR_MS),
    keepMs: inMs(keepDays, 24 * HOUR_MS),
  };
}

/** One a line. */
export const patternsOf = (images: string): string[] =>
  images
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** A policy that is there, as the API takes it: with what is changed. */
export function changedPolicy(policy: Policy, change: Partial<Policy>): Record<string, unknown> {
  const {
    id: _,
    createdAtMs: __,
    createdBy: ___,
    changedAtMs: ____,
    ...request
  } = policy as Policy & Readonly<Record<string, unknown>>;
  return { ...request, ...change };
}

const inMs = (text: string, unitMs: number): number | null =>
  text.trim() === '' ? null : Math.round(Number(text) * unitMs);

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
