import type { Condition } from '../resources/index.ts';

export type Said = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

const PARTS = ['Resolved', 'Built', 'Distributed'] as const;
/** What we say of our resources: whatever else is said there is of other controllers. */
const OWN: ReadonlySet<string> = new Set([...PARTS, 'Ready']);

export const ownConditions = (all: readonly Condition[]): Condition[] =>
  all.filter(({ type }) => OWN.has(type));

/**
 * What is said now, with the time since which each is so: that of before, where its status is what it was. What else we have said stays; what others
 * have is theirs to say.
 * Source: Kubernetes API conventions, “Typical status properties”.
 */
export function conditionsOf(
  before: readonly Condition[],
  said: readonly Said[],
  generation: number,
  now: string,
): Condition[] {
  const known = new Map(ownConditions(before).map((condition) => [condition.type, condition]));
  const ours = said.map(({ type, status, reason, message }) => {
    const was = known.get(type);
    known.delete(type);
    const lastTransitionTime = was?.status === status ? was.lastTransitionTime : now;
    return { type, status, reason, message, observedGeneration: generation, lastTransitionTime };
  });
  return [...ours, ...known.values()];
}

/** Of a spec that can’t be brought about: what was said of another is not known of it. */
export function invalid(message: string): Said[] {
  const why = { reason: 'InvalidSpec', message };
  return [
    ...PARTS.map((type) => ({ type, status: 'Unknown' as const, ...why })),
    { type: 'Ready', status: 'False', ...why },
  ];
}
