import type { Places } from './issues.ts';
import { EMPTY_ROLLOUT, ROLLOUT_PLACES, type Rollout, rollout } from './rollout.ts';

/** What a person writes in the form of a new job. */
export interface JobFields extends Rollout {
  readonly kind: 'preheat' | 'build' | 'get' | 'evict';
  readonly subject: string;
  readonly platform: string;
  readonly content: 'snapshot' | 'start' | 'layers';
  readonly keep: boolean;
  readonly push: boolean;
  readonly rebuild: boolean;
}

export const EMPTY_JOB: JobFields = {
  ...EMPTY_ROLLOUT,
  kind: 'preheat',
  subject: '',
  platform: '',
  content: 'snapshot',
  keep: false,
  push: false,
  rebuild: false,
};

/** Of a specification. */
export const JOB_PLACES: Places<keyof Rollout | 'subject' | 'platform'> = {
  ...ROLLOUT_PLACES,
  subject: ['image', 'url', 'digest'],
  platform: ['platform'],
};

/** The specification that the API takes; the supernode checks the rest. */
export function jobSpec(fields: JobFields): Record<string, unknown> {
  const { kind, subject, platform, content, keep, push, rebuild } = fields;
  const about = subjectField(kind, subject.trim());
  const forPlatform = platform.trim() === '' || kind === 'get' ? {} : { platform: platform.trim() };
  if (kind === 'build') return { kind, ...about, ...forPlatform, push, rebuild };
  return {
    kind,
    ...about,
    ...forPlatform,
    ...(kind === 'preheat' ? { content } : {}),
    ...(kind === 'evict' ? {} : { keep }),
    ...rollout(fields),
  };
}

function subjectField(kind: JobFields['kind'], subject: string): Record<string, string> {
  if (kind === 'get') return { url: subject };
  return kind === 'evict' && subject.startsWith('sha256:') ? { digest: subject } : { image: subject };
}
