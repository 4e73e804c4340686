import type { Scenario } from './scenario.ts';
import { autonomy } from './scenarios/autonomy.ts';
import { build } from './scenarios/build.ts';
import { burst } from './scenarios/burst.ts';
import { coldStart } from './scenarios/cold-start.ts';
import { compare } from './scenarios/compare.ts';
import { consoleFrames } from './scenarios/console.ts';
import { control } from './scenarios/control.ts';
import { cost } from './scenarios/cost.ts';
import { cri } from './scenarios/cri.ts';
import { distribute } from './scenarios/distribute.ts';
import { fill } from './scenarios/fill.ts';
import { idle } from './scenarios/idle.ts';
import { jobs } from './scenarios/jobs.ts';
import { kubernetes } from './scenarios/kubernetes.ts';
import { memory } from './scenarios/memory.ts';
import { mirror } from './scenarios/mirror.ts';
import { mirrorCrowd } from './scenarios/mirror-crowd.ts';
import { mixed } from './scenarios/mixed.ts';
import { read } from './scenarios/read.ts';
import { simulated } from './scenarios/simulate.ts';
import { snapshots } from './scenarios/snapshots.ts';
import { soak } from './scenarios/soak.ts';
import { start } from './scenarios/start.ts';
import { supernodeLoss } from './scenarios/supernode-loss.ts';
import { supernodes } from './scenarios/supernodes.ts';
import { update } from './scenarios/update.ts';
import { updateWave } from './scenarios/update-wave.ts';
import { webhooks } from './scenarios/webhooks.ts';
import { wire } from './scenarios/wire.ts';

export interface Benchmark {
  /** What it measures, in a line. */
  readonly about: string;
  readonly run: Scenario;
}

/** All benchmarks, by the names that the command line knows. */
export const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  build: { about: 'registry → snapshot ready, against containerd’s pull and unpack', run: build },
  memory: { about: 'memory of a build, of layers of 100 MiB and 4 GiB', run: memory },
  start: { about: 'warm start and mount, against ctr run on an unpacked image', run: start },
  mirror: { about: 'a hot blob from the mirror, against nginx with sendfile', run: mirror },
  distribute: {
    about: 'cold herds of 8 and 24 hosts, staggered, two racks, through containerd',
    run: distribute,
  },
  wire: { about: 'a blob from daemon to daemon, against node:https alone', run: wire },
  control: { about: 'a supernode with 10,000 connections: decisions, memory, restart', run: control },
  cost: { about: 'CPU and bytes for each gigabyte that comes to a host, by part', run: cost },
  jobs: { about: 'a job over 10,000 hosts: whether it is exact, the API meanwhile', run: jobs },
  supernode: {
    about: 'two supernodes of which one is lost during a distribution; from a push to its build',
    run: async (options) => [...(await supernodes(options)), ...(await webhooks(options))],
  },
  console: { about: 'frames of the console with 1,000 and 10,000 hosts', run: consoleFrames },
  kubernetes: { about: '2,000 ImageSnapshots on 5,000 nodes: requests, changes, memory', run: kubernetes },
  idle: { about: 'CPU and memory of daemons that have nothing to do', run: idle },
  'cold-start': {
    about: 'from nothing to the first output over 1 Gbit/s and 100 Mbit/s, against containerd',
    run: coldStart,
  },
  update: { about: 'bytes moved from one version of an image to the next', run: update },
  read: { about: 'reads of a container’s files, warm and from the disk, against overlayfs', run: read },
  fill: { about: 'how quickly what is missing from a volume comes', run: fill },
  burst: {
    about: '500 root file systems and containers on an empty host, against unpacked overlayfs',
    run: burst,
  },
  snapshots: { about: 'calls of the snapshotter, against containerd’s overlayfs', run: snapshots },
  cri: { about: 'pods through a stock containerd, one and 200 at once, against overlayfs', run: cri },
  compare: { about: 'what brings images to hosts, ours and what others use', run: compare },
  'mirror-crowd': { about: 'a mirror under 64 pulls at once', run: mirrorCrowd },
  mixed: { about: '10 images on 16 hosts, some wanted far more than others', run: mixed },
  'update-wave': { about: 'a new version of an image to a whole fleet', run: updateWave },
  autonomy: { about: 'hosts that have nobody but each other', run: autonomy },
  'supernode-loss': { about: 'a distribution during which the only supernode is lost', run: supernodeLoss },
  simulate: { about: 'swarms of up to 10,000 hosts, simulated; what the defaults do', run: simulated },
  soak: { about: 'half an hour of mixed load with churn: nothing may grow', run: soak },
};
