import type { Claim } from './runner/results.ts';

/** A number that Drakkar is to reach, as its design states it. */
export interface Target {
  readonly what: string;
  readonly bound: 'at most' | 'at least';
  readonly figure: number;
  readonly unit: Claim['unit'] | 'cores';
  /** Which claims of which results show it: the one that is furthest off counts. None where nobody has measured it yet. */
  readonly shownBy: readonly { readonly result: string; readonly claims: RegExp }[];
  /** Why it is missed, where that is known; said as long as it is. */
  readonly whyMissed?: string;
}

const COLD_STARTS = ['cold-start-1g-python', 'cold-start-1g-node', 'cold-start-1g-jvm'] as const;
const HERDS = ['distribute-8', 'distribute-24', 'distribute-image', 'distribute-staggered'] as const;
const READS = ['read-sequential', 'read-random', 'read-stat', 'read-readdir'] as const;
const BUILDS = ['build-python', 'build-node'] as const;

const each = (results: readonly string[], claims: RegExp) => results.map((result) => ({ result, claims }));

/** All of them, in the order of the design; benchmarks take theirs from here. */
export const TARGETS = {
  coldStart: {
    what: 'cold start of an image that the cluster has and the host has not, 1 Gbit/s',
    ...{ bound: 'at most', figure: 1_000, unit: 'ms' },
    shownBy: each(COLD_STARTS.slice(0, 2), /: cold start$/),
  },
  coldAgainstWarm: {
    what: 'the same, against the warm start',
    ...{ bound: 'at most', figure: 1.5, unit: '×' },
    shownBy: each(COLD_STARTS, /: cold, against warm$/),
  },
  coldBeyondWarm: {
    what: 'the same, its time beyond the warm start: how many times less than that of an overlayfs pull and start',
    ...{ bound: 'at least', figure: 10, unit: '×' },
    shownBy: each(COLD_STARTS, /: time beyond the warm start/),
  },
  slowestHost: {
    what: 'distribution to hosts that all begin at once: the slowest, against size ÷ link rate',
    ...{ bound: 'at most', figure: 1.15, unit: '×' },
    shownBy: each(HERDS.slice(0, 2), /: slowest, against size ÷ link rate$/),
  },
  upstream: {
    what: 'bytes read upstream, however many hosts, against the size',
    ...{ bound: 'at most', figure: 1.02, unit: '×' },
    shownBy: each(
      [...HERDS, 'distribute-racks', 'supernodes'],
      /: bytes that the registry gave, against the size$/,
    ),
  },
  wire: {
    what: 'one blob from daemon to daemon, encrypted, hashed and stored: rate, against node:https alone',
    ...{ bound: 'at least', figure: 0.7, unit: '×' },
    shownBy: each(['wire'], /: rate, against node:https alone$/),
  },
  mirror: {
    what: 'a hot blob from the mirror: rate, against nginx with sendfile',
    ...{ bound: 'at least', figure: 0.5, unit: '×' },
    shownBy: each(['mirror'], /: rate, against nginx with sendfile$/),
  },
  warmReads: {
    what: 'warm reads from a mounted snapshot: speed, against overlayfs',
    ...{ bound: 'at least', figure: 1, unit: '×' },
    shownBy: each(READS, /: speed of .*, against overlayfs$/),
  },
  buildTime: {
    what: 'building a snapshot: time, against containerd’s pull and unpack',
    ...{ bound: 'at most', figure: 1, unit: '×' },
    shownBy: each(BUILDS, /: wall, against pull \+ unpack$/),
  },
  buildCpu: {
    what: 'building a snapshot: CPU, against containerd’s pull and unpack',
    ...{ bound: 'at most', figure: 1, unit: '×' },
    shownBy: each(BUILDS, /: CPU, against pull \+ unpack$/),
    whyMissed: 'what is built is compressed and hashed once more, which nobody does who unpacks',
  },
  update: {
    what: 'from one version of an image to the next: bytes moved, against those that have changed',
    ...{ bound: 'at most', figure: 1.1, unit: '×' },
    shownBy: each(['update'], /, against the changed bytes$/),
  },
  mounts: {
    what: '500 root file systems prepared on one host',
    ...{ bound: 'at most', figure: 30, unit: 's' },
    shownBy: each(['burst-mounts'], /^500 root file systems, cold$/),
  },
  decisions: {
    what: 'a supernode with 10,000 hosts: decisions in a second of CPU, of 20,000',
    ...{ bound: 'at least', figure: 1, unit: '×' },
    shownBy: each(['control-10000'], /: decisions in a second of CPU/),
  },
  hostMemory: {
    what: 'a supernode with 10,000 hosts: its memory for a host, of 192 KiB',
    ...{ bound: 'at most', figure: 1, unit: '×' },
    shownBy: each(['control-10000'], /: memory of a host/),
  },
  idleMemory: {
    what: 'memory of an idle daemon',
    ...{ bound: 'at most', figure: 160, unit: 'MiB' },
    shownBy: each(['idle'], /: RSS$/),
  },
  simulatedHerd: {
    what: 'simulated: 1 GiB to 10,000 hosts at once over 1 Gbit/s, p99, against size ÷ rate',
    ...{ bound: 'at most', figure: 1.3, unit: '×' },
    shownBy: [],
  },
  simulatedOrigin: {
    what: 'the same: bytes of the origin, against the size, for each region',
    ...{ bound: 'at most', figure: 1.02, unit: '×' },
    shownBy: [],
  },
  simulatedZones: {
    what: 'the same: bytes between zones, against the size, for each zone',
    ...{ bound: 'at most', figure: 1.2, unit: '×' },
    shownBy: [],
  },
  simulatedCrowd: {
    what: 'simulated: 1 GiB to 100,000 hosts, p99, against size ÷ rate',
    ...{ bound: 'at most', figure: 1.5, unit: '×' },
    shownBy: [],
  },
  simulatedControl: {
    what: 'the same: messages a host',
    ...{ bound: 'at most', figure: 3, unit: 'a second' },
    shownBy: [],
  },
  simulatedSupernode: {
    what: 'the same: CPU of the supernodes, by what a decision was measured to cost',
    ...{ bound: 'at most', figure: 8, unit: 'cores' },
    shownBy: [],
  },
} as const satisfies Readonly<Record<string, Target>>;
