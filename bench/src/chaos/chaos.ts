import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { nativeHelper } from '@drakkar/daemon';
import { pushImage } from '@drakkar/lab';
import type { FleetHost } from '../fleet/fleet.ts';
import { type SeededFleet, seedSnapshot, startSeededFleet } from '../fleet/seeded.ts';
import { nativeSocketOf } from '../runner/helper.ts';
import { chaosImage } from './image.ts';
import { type Finding, readAll, type Truth } from './readers.ts';
import { holderOf, memberOf, type Victim, workerOf } from './victims.ts';

export interface ChaosOptions {
  /** It ends with the round in which so many have been reached. */
  readonly kills: number;
  readonly backend: 'fanotify' | 'fuse';
  readonly backing: 'auto' | 'file' | 'loop';
  readonly onRound?: (round: RoundResult) => void;
}

export interface RoundResult {
  readonly round: number;
  readonly reads: number;
  readonly wrong: number;
  readonly failed: number;
  readonly longestMs: number;
  /** All so far. */
  readonly kills: number;
}

export interface ChaosResult {
  readonly backend: string;
  readonly backing: string;
  /** By victim. */
  readonly kills: Readonly<Record<string, number>>;
  readonly rounds: number;
  readonly reads: number;
  /** Reads that gave something else than the truth. */
  readonly wrong: readonly Finding[];
  /** Reads that failed. */
  readonly failed: readonly Finding[];
  readonly longestReadMs: number;
  readonly readDeadlineMs: number;
  /** Whether a process that ran in a container's root all the time still does. */
  readonly isContainerAlive: boolean;
  readonly elapsedMs: number;
}

interface Subject {
  /** As it is pulled. */
  readonly name: string;
  readonly truths: readonly Truth[];
}

const IMAGES = 3;
const FILES_OF_IMAGE = 3;
const FILE_BYTES = 3 * 1024 * 1024;
/** Small, so that many blocks come one after the other. */
const BLOCK_BYTES = 64 * 1024;
/** Of daemon and helper, unless they are told otherwise. */
const READ_DEADLINE_MS = 30_000;
/** Between two moments at which something is killed. */
const SHORTEST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 60;
const PATIENCE_MS = 60_000;
const RETRY_MS = 100;
/** Runs programs of its image all the time, which the kernel reads anew when it needs the memory. */
const STEADY = 'while :; do /bin/sh -c "exit 0" || exit 1; read -r line < /data/file-0 || :; done';

/**
 * Lets readers read volumes of which nothing is here, and kills whoever brings it: the helper's worker, the processes that hold its events, the
 * daemon, the supernode, the hosts that have the blocks; alone and together, at random moments. Every byte is compared.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const startedMs = performance.now();
  await using stack = new AsyncDisposableStack();
  const settings = { snapshots: { blockBytes: BLOCK_BYTES }, volumes: { background: 'off' } };
  const { backend, backing } = options;
  const seeded = stack.use(
    await startSeededFleet({
      seed: settings,
      clients: [settings, { ...settings, native: { backend, backing } }],
    }),
  );
  const { fleet, seed } = seeded;
  const [peer, host] = seeded.clients;
  if (peer === undefined || host === undefined) throw new Error('a fleet with two clients has two');
  const home = dirname(host.stateDirectory);
  const helper = stack.use(nativeHelper(nativeSocketOf(home)));
  const subjects = await makeSubjects(seeded, peer);
  const [steady, ...changing] = subjects;
  if (steady === undefined) throw new Error('there is an image');
  stack.defer(() => unmountAll(host));
  const { id, rootfs } = await host.client.start({ image: steady.name });
  stack.defer(() => again(() => host.client.endStart(id)));
  const container = spawn('chroot', [rootfs, '/bin/sh', '-c', STEADY], { stdio: 'ignore' });
  stack.defer(() => void container.kill('SIGKILL'));

  const victims = [
    workerOf(helper),
    holderOf(join(home, 'native')),
    memberOf('daemon', host),
    memberOf('supernode', fleet.supernode),
    memberOf('seed', seed),
    memberOf('peer', peer),
  ];
  const killing = new Killing(victims);
  const findings: Finding[] = [];
  let round = 0;
  try {
    for (; killing.total < options.kills; round += 1) {
      const found = await oneRound(host, changing);
      findings.push(...found);
      options.onRound?.({
        round,
        reads: found.length,
        wrong: found.filter(({ isWrong }) => isWrong).length,
        failed: found.filter(({ error }) => error !== undefined).length,
        longestMs: Math.max(...found.map(({ waitedMs }) => waitedMs)),
        kills: killing.total,
      });
    }
  } finally {
    await killing.end();
  }
  return {
    backend,
    backing,
    kills: killing.counts,
    rounds: round,
    reads: findings.length,
    wrong: findings.filter(({ isWrong }) => isWrong),
    failed: findings.filter(({ error }) => error !== undefined),
    longestReadMs: Math.max(...findings.map(({ waitedMs }) => waitedMs)),
    readDeadlineMs: READ_DEADLINE_MS,
    isContainerAlive: container.exitCode === null && container.signalCode === null,
    elapsedMs: performance.now() - startedMs,
  };
}

/** Images whose snapshots two hosts have, and their registry. */
async function makeSubjects(seeded: SeededFleet, peer: FleetHost): Promise<Subject[]> {
  const { registry } = seeded.fleet;
  const subjects: Subject[] = [];
  for (let index = 0; index < IMAGES; index += 1) {
    const { image, truths } = chaosImage(FILES_OF_IMAGE, FILE_BYTES);
    const repository = `chaos/image-${index}`;
    await pushImage(registry.url, image, { repository, tag: 'latest' });
    const name = `${registry.host}/${repository}:latest`;
    await seedSnapshot(seeded, name, { push: true });
    await peer.client.buildSnapshot({ image: name });
    subjects.push({ name, truths });
  }
  return subjects;
}

/** Mounts the images anew, of which nothing is here, has them read, and removes them. */
async function oneRound(host: FleetHost, subjects: readonly Subject[]): Promise<Finding[]> {
  const findings = await Promise.all(
    subjects.map(async ({ name, truths }) => {
      const path = await again(async () => {
        const { id } = await host.client.start({ image: name });
        await host.client.endStart(id);
        return (await host.client.mountSnapshot(name)).path;
      });
      return await readAll(path, truths);
    }),
  );
  for (const { name } of subjects) {
    await again(async () => {
      const known = await host.client.snapshots();
      if (!known.some(({ image }) => image === name)) return;
      await host.client.umountSnapshot(name);
      await host.client.removeSnapshot(name);
    });
  }
  return findings.flat();
}

async function unmountAll(host: FleetHost): Promise<void> {
  for (const { path, manifestDigest } of await host.client.snapshots()) {
    if (path !== null) await host.client.umountSnapshot(manifestDigest).catch(() => {});
  }
}

/** A request whose daemon is killed over it is made again, as any client would. @throws what it failed with last */
async function again<Value>(request: () => Promise<Value>): Promise<Value> {
  for (const endMs = performance.now() + PATIENCE_MS; ; await sleep(RETRY_MS)) {
    try {
      return await request();
    } catch (error) {
      if (performance.now() > endMs) throw error;
    }
  }
}

/** Kills some victims, again and again, until it is told to end. */
class Killing {
  readonly #victims: readonly Victim[];
  readonly #counts = new Map<string, number>();
  readonly #freeAtMs = new Map<Victim, number>();
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;

  constructor(victims: readonly Victim[]) {
    this.#victims = victims;
    this.#running = this.#run();
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  get counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  /** Returns when everything that was killed is back. */
  async end(): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const returning = new Set<Promise<void>>();
    while (!this.#ending.signal.aborted) {
      await sleep(SHORTEST_PAUSE_MS + Math.random() * (LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS));
      const free = this.#victims.filter((victim) => (this.#freeAtMs.get(victim) ?? 0) <= performance.now());
      // Any combination of those that are up.
      for (const victim of free.filter(() => Math.random() < 1 / 2)) {
        this.#freeAtMs.set(victim, Number.POSITIVE_INFINITY);
        const killed = this.#kill(victim).finally(() => returning.delete(killed));
        returning.add(killed);
      }
    }
    await Promise.allSettled(returning);
  }

  async #kill(victim: Victim): Promise<void> {
    try {
      if (await victim.kill()) this.#counts.set(victim.name, (this.#counts.get(victim.name) ?? 0) + 1);
    } finally {
      this.#freeAtMs.set(victim, performance.now() + victim.pauseMs);
    }
  }
}
