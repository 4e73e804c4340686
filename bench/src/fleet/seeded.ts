import { setTimeout as sleep } from 'node:timers/promises';
import { type Fleet, type FleetHost, type FleetOptions, startFleet } from './fleet.ts';

export interface SeededOptions extends Pick<FleetOptions, 'rate' | 'namespaces'> {
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
const LOOK_MS = 50;
/** Manifests and configs may stay where an image has been: they are small. */
const SMALL_BYTES = 256 * 1024;

/** Needs root. */
export async function startSeededFleet({
  clients: settings,
  ...options
}: SeededOptions): Promise<SeededFleet> {
  const trusted: string[] = [];
  await using stack = new AsyncDisposableStack();
  const daemon = (index: number) => ({ snapshots: { trustedBuilders: trusted }, ...settings[index - 1] });
  const fleet = stack.use(
    await startFleet({ ...options, hosts: 1 + settings.length, volumes: true, daemon }),
  );
  const [seed, ...clients] = fleet.hosts;
  if (seed === undefined) throw new Error('a fleet without hosts');
  trusted.push((await seed.client.status()).builderPublicKey);
  for (const client of clients) {
    await client.kill('SIGTERM');
    await client.start();
  }
  for (const host of fleet.hosts)
    await until(async () => (await host.client.status()).swarm?.supernode.up === true);
  const running = stack.move();
  return { fleet, seed, clients, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Returns when the host has all of every snapshot, and the kernel reads them alone. */
export async function untilComplete({ client }: FleetHost): Promise<void> {
  await until(async () => (await client.snapshots()).every(({ offlineReady }) => offlineReady));
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

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  while (!(await holds())) await sleep(LOOK_MS, undefined, { signal: deadline });
}
