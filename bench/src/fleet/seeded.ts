import { setTimeout as sleep } from 'node:timers/promises';
import type { BuildResult, BuildSnapshotRequest, SnapshotSummary } from '@drakkar/client';
import { type Fleet, type FleetHost, type FleetOptions, startFleet } from './fleet.ts';
import { holdsWithin, untilJoined } from './until.ts';

export interface SeededOptions extends Pick<FleetOptions, 'rate' | 'queueMs' | 'namespaces' | 'environment'> {
  /** Settings of the seed's daemon's configuration. */
  readonly seed?: Readonly<Record<string, object>>;
  /** One for each client: settings of its daemon's configuration. */
  readonly clients: readonly Readonly<Record<string, object>>[];
}

/** A fleet whose first host makes snapshots and gives them, and whose others have nothing and use them. */
export interface SeededFleet extends AsyncDisposable {
  readonly fleet: Fleet;
  readonly seed: FleetHost;
  readonly clients: readonly FleetHost[];
}

const DEADLINE_MS = 300_000;
/** After the last block has come: all is synced and hashed. Some volumes are retired only when they are next mounted. */
const RETIRE_MS = 3_000;
/** What is told at once has arrived. */
const TOLD_MS = 500;
/** Manifests and configs may stay where an image has been: they are small. */
const SMALL_BYTES = 256 * 1024;

/** Needs root. */
export async function startSeededFleet({
  seed: seedSettings = {},
  clients: settings,
  ...options
}: SeededOptions): Promise<SeededFleet> {
  await using stack = new AsyncDisposableStack();
  const daemon = (index: number) => [seedSettings, ...settings][index] ?? {};
  const fleet = stack.use(
    await startFleet({ ...options, hosts: 1 + settings.length, volumes: true, daemon }),
  );
  const [seed, ...clients] = fleet.hosts;
  if (seed === undefined) throw new Error('a fleet without hosts');
  await untilJoined(fleet);
  const running = stack.move();
  return { fleet, seed, clients, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Has the seed make the snapshot of an image that is new to the cluster. Returns when the supernode knows it. */
export async function seedSnapshot(
  { fleet, seed }: SeededFleet,
  image: string,
  options: Pick<BuildSnapshotRequest, 'push'> = {},
): Promise<BuildResult> {
  const before = await knownSnapshots(fleet);
  const built = await seed.client.buildSnapshot({ image, ...options });
  if (!(await holdsWithin(DEADLINE_MS, async () => (await knownSnapshots(fleet)) > before)))
    throw new Error(`the supernode was not told of the snapshot of ${image}`);
  return built;
}

async function knownSnapshots({ supernode }: Fleet): Promise<number> {
  const { metricsUrl } = await supernode.client.status();
  const text = await (await fetch(metricsUrl)).text();
  return Number(/^drakkar_supernode_snapshots ([0-9]+)$/m.exec(text)?.[1]);
}

/** Returns when the host has all of every snapshot and, where its backend lets it be so at once, the kernel reads them alone. */
export async function untilComplete({ client }: FleetHost): Promise<void> {
  const all = (holds: (snapshot: SnapshotSummary) => boolean) => async () =>
    (await client.snapshots()).every(holds);
  if (
    !(await holdsWithin(
      DEADLINE_MS,
      all(({ residency }) => residency === 1),
    ))
  )
    throw new Error('a volume was not completed');
  await holdsWithin(
    RETIRE_MS,
    all(({ offlineReady }) => offlineReady),
  );
}

/** Returns when the seed has laid a snapshot out as starts read it, and the supernode has been told. */
export async function untilRearranged({ seed }: SeededFleet, image: string): Promise<void> {
  const isDone = async () => (await seed.client.snapshot(image)).config.prefetch !== undefined;
  if (!(await holdsWithin(DEADLINE_MS, isDone))) throw new Error(`nobody lays ${image} out anew`);
  await sleep(TOLD_MS);
}

/** @throws where a host had to make a snapshot itself */
export async function expectGiven({ client }: FleetHost): Promise<void> {
  const built = (await client.snapshots()).find(({ origin }) => origin === 'built');
  if (built !== undefined) throw new Error(`${built.image} was built where it should have been given`);
}

/** Takes everything from a host but what its daemon knows of others. @throws when something is in use */
export async function emptyHost({ client }: FleetHost): Promise<void> {
  for (const { manifestDigest, path } of await client.snapshots()) {
    if (path !== null) await client.umountSnapshot(manifestDigest);
    await client.removeSnapshot(manifestDigest);
  }
  const left = (await client.blobs()).filter(({ presentBytes }) => presentBytes > SMALL_BYTES);
  if (left.length > 0) throw new Error(`a host that should be empty has ${left[0]?.digest}`);
}
