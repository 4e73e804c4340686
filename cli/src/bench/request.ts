import type { JobSpecInput, SwarmHost } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { accepts, byteSize } from '@drakkar/service';
import { parseAge } from '../command-line/age.ts';
import { parseNumber } from '../command-line/number.ts';
import { type Flags, type OptionSpecs, PLATFORM } from '../command-line/options.ts';

/** What is measured, of which hosts, and within which bounds: from words to what the API takes. Pure. */

export const MEASURE = {
  hosts: {
    value: 'names',
    required: true,
    summary: 'by name, with commas between them, or `all` that are connected',
  },
  platform: PLATFORM,
  most: { value: 'bytes', summary: 'that may come to each host, instead of as much as it allows' },
  within: { value: 'time', summary: 'that each host may take, instead of as long as it allows' },
  rounds: { value: 'number', default: '1', summary: 'one after the other, each from nothing' },
  'at-once': { value: 'number', summary: 'hosts at the same time, instead of all' },
  stagger: { value: 'time', summary: 'between the beginnings of two hosts' },
  warm: { summary: 'also on hosts that have it already' },
  output: { value: 'dir', default: '.', summary: 'where raw data and plots are kept' },
} as const satisfies OptionSpecs;

/** Of pulls alone. */
export const RATE = {
  rate: { value: 'bytes', summary: 'a second that come to each host, at most, as 10MB' },
} as const satisfies OptionSpecs;

export type MeasureFlags = Flags<typeof MEASURE> & Partial<Flags<typeof RATE>>;
export type MeasureSpec = Extract<JobSpecInput, { readonly kind: 'measure' }>;
export type What = MeasureSpec['what'];

export const MOST_ROUNDS = 1_000;
const MOST_HOSTS = 100_000;
/** Who is at it says so every two seconds. */
const STALL_MS = 15_000;
/** Raw data is read from the hosts' parts: the job itself need not be remembered for long. */
const REMEMBERED_MS = 24 * 60 * 60_000;

/** The job of one round. @throws `invalid_argument` */
export function specOf(
  what: What,
  image: string,
  { hosts, isAll }: Chosen,
  flags: MeasureFlags,
): MeasureSpec {
  const { platform, most, within, warm, rate, stagger } = flags;
  const atOnce = flags['at-once'];
  if (atOnce !== undefined && stagger !== undefined) {
    throw new DrakkarError('invalid_argument', '--at-once and --stagger exclude each other');
  }
  return {
    kind: 'measure',
    what,
    image,
    ...(platform === undefined ? {} : { platform }),
    warm,
    bytesPerSecond: rate === undefined ? null : parseBytes(rate, '--rate'),
    mostBytes: most === undefined ? null : parseBytes(most, '--most'),
    withinMs: within === undefined ? null : parseAge(within),
    staggerMs: stagger === undefined ? 0 : parseAge(stagger),
    target: isAll ? {} : { names: [...new Set(hosts.map(({ name }) => name))] },
    parallelism: atOnce === undefined ? MOST_HOSTS : parseNumber(atOnce, '--at-once', [1, MOST_HOSTS]),
    stallMs: STALL_MS,
    ttlMs: REMEMBERED_MS,
  };
}

/** A host that is not measured, and why. */
export interface LeftOut {
  readonly name: string;
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string };
}

export interface Chosen {
  readonly isAll: boolean;
  readonly hosts: readonly SwarmHost[];
  readonly leftOut: readonly LeftOut[];
}

/** The hosts that are meant, of those that there are. @throws `invalid_argument` where nobody is named */
export function chooseHosts(text: string, known: readonly SwarmHost[]): Chosen {
  const isThere = ({ state }: SwarmHost) => state === 'connected' || state === 'quarantined';
  if (text.trim() === 'all') return { isAll: true, hosts: known.filter(isThere), leftOut: [] };
  const names = new Set(
    text
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  );
  if (names.size === 0) {
    throw new DrakkarError('invalid_argument', '--hosts names none', {
      hint: 'write names of hosts with commas between them, or all',
    });
  }
  const hosts: SwarmHost[] = [];
  const leftOut: LeftOut[] = [];
  for (const name of names) {
    const called = known.filter((host) => host.name === name);
    const there = called.filter(isThere);
    hosts.push(...there);
    if (there.length > 0) continue;
    const [one] = called;
    leftOut.push({
      name,
      error:
        one === undefined
          ? {
              code: 'not_found',
              message: 'no host of the cluster is called so',
              hint: '`drakkar hosts` lists them',
            }
          : { code: 'unavailable', message: `the host is ${one.state}` },
    });
  }
  return { isAll: false, hosts, leftOut };
}

function parseBytes(text: string, option: string): number {
  if (accepts((value: string) => byteSize.parse(value))(text)) return byteSize.parse(text);
  throw new DrakkarError(
    'invalid_argument',
    `${option} is a number of bytes as 10MB or 1GiB, not ${JSON.stringify(text)}`,
  );
}
