/** What a person writes in the form of a new job. */
export interface JobFields {
  readonly kind: 'preheat' | 'build' | 'get' | 'evict';
  readonly subject: string;
  readonly platform: string;
  readonly content: 'snapshot' | 'start' | 'layers';
  readonly role: string;
  readonly labels: string;
  readonly percentage: string;
  readonly parallelism: string;
  readonly keep: boolean;
  readonly push: boolean;
  readonly rebuild: boolean;
}

export const EMPTY_JOB: JobFields = {
  kind: 'preheat',
  subject: '',
  platform: '',
  content: 'snapshot',
  role: '',
  labels: '',
  percentage: '',
  parallelism: '',
  keep: false,
  push: false,
  rebuild: false,
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

/** Which hosts, and how many of them at a time: what is empty is left to the supernode. */
export function rollout({
  role,
  labels,
  percentage,
  parallelism,
}: Pick<JobFields, 'role' | 'labels' | 'percentage' | 'parallelism'>): Record<string, unknown> {
  const wanted = parseLabels(labels);
  const target = {
    ...(role === '' ? {} : { role }),
    ...(Object.keys(wanted).length === 0 ? {} : { labels: wanted }),
    ...(percentage.trim() === '' ? {} : { percentage: Number(percentage) }),
  };
  const atOnce = parallelism.trim();
  return {
    target,
    ...(atOnce === '' ? {} : { parallelism: atOnce.endsWith('%') ? atOnce : Number(atOnce) }),
  };
}

/** `rack=a1 zone=eu`, with blanks or commas between. */
export function parseLabels(text: string): Record<string, string> {
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  return Object.fromEntries(
    words.map((word) => {
      const [name = '', value = ''] = word.split(/=(.*)/s);
      return [name, value];
    }),
  );
}
