import { parseReference } from '@drakkar/protocol';
import { type JobSpec, jobSpecSchema, type RawJobSpec } from '../jobs/index.ts';
import type { RunningJob } from './running.ts';
import type { Policy, Wanted } from './schema.ts';

/** Layers are no snapshot: nothing is built of them, where the registry is not to get one. */
export const isLayersAlone = ({ distribute, push }: Policy): boolean =>
  distribute?.content === 'layers' && !push;

/** What it does for an image that was pushed. */
export function doneOnPush(policy: Policy): ('build' | 'distribute')[] {
  if (!policy.on.push) return [];
  return [
    ...(isLayersAlone(policy) ? [] : (['build'] as const)),
    ...(policy.distribute === null ? [] : (['distribute'] as const)),
  ];
}

/** What is to be done next, by what the policy says now; nothing where all was. */
export function nextSpec(policy: Policy, { image, platform, near, stage }: Wanted): JobSpec | undefined {
  const common = { image, ...(platform === null ? {} : { platform }) };
  const mustDistribute = stage === 'distribute' || isLayersAlone(policy);
  if (mustDistribute && policy.distribute === null) return undefined;
  const raw: RawJobSpec = mustDistribute
    ? { kind: 'preheat', ...common, ...policy.distribute }
    : { kind: 'build', ...common, push: policy.push, ...(near === null ? {} : { near }) };
  return jobSpecSchema.parse(raw);
}

/** What becomes of what waits when it is wanted once more. */
export type Once = 'nothing' | 'begin' | 'again';

/** However often something is asked for, it is done once; where its name may mean something else by now, once more. */
export function onceMore(
  image: string,
  { push }: Policy,
  waiting: Wanted | undefined,
  running: RunningJob | undefined,
): Once {
  const hasBegun =
    waiting === undefined ? running !== undefined : waiting.build !== null || waiting.stage === 'distribute';
  if (!hasBegun) return waiting === undefined ? 'begin' : 'nothing';
  if (parseReference(image).digest !== undefined) return 'nothing';
  // What is distributed is built where it must be, but goes to no registry.
  const isDone = running === undefined || running.isResolved || (running.kind === 'preheat' && push);
  if (!isDone) return 'nothing';
  return waiting === undefined ? 'begin' : 'again';
}
