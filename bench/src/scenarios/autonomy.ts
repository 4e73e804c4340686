import type { FleetHost } from '../fleet/fleet.ts';
import { requireAllRight } from '../fleet/right.ts';
import { type SeededFleet, seedSnapshot, startSeededFleet } from '../fleet/seeded.ts';
import { untilJoined } from '../fleet/until.ts';
import { SMALL_COMMAND, smallImage, wrongFileIn } from '../runner/fresh-layers.ts';
import { pushLayers } from '../runner/images.ts';
import { atMost } from '../runner/results.ts';
import { medianOf, type Sample, type Series, timed } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const RATE = 100e6;
const FULL = { hosts: 6, layers: 8, layerBytes: 8 * 1024 ** 2 };
const QUICK = { hosts: 2, layers: 2, layerBytes: 512 * 1024 };
/** A registry that says nothing is waited for some times in a pull: in full, as long as users’ daemons do. */
const QUICK_ANSWER_MS = 500;
const MAX_ROUNDS = 5;

const METHOD = [
  'Hosts of which one has two images: one as layers, and one as a snapshot. The others have asked for both before, so that they know their manifests, and have nothing else: they have started the second once, and complete nothing in the background.',
  'Then the registry is taken from the network, and the supernode killed. All others at once pull the first, and then start the second and read all of its files, which are compared.',
  'Against the same with images as large while both are there.',
].join(' ');

type Circumstance = 'all there' | 'alone';

/** Hosts that have nobody but each other. */
export const autonomy: Scenario = async ({ rounds, isQuick, onSample }) => {
  const input = isQuick ? QUICK : FULL;
  await using seeded = await startSeededFleet({
    rate: RATE,
    namespaces: true,
    clients: Array.from({ length: input.hosts }, () => ({
      volumes: { background: 'off' },
      ...(isQuick ? { registries: { answerTimeoutMs: QUICK_ANSWER_MS } } : {}),
    })),
  });
  const { clients } = seeded;
  const samples = new Map<string, Sample[]>();
  const note = (name: string, round: number, elapsedMs: readonly number[]) => {
    const sample = { wallMs: Math.max(...elapsedMs) };
    samples.set(name, [...(samples.get(name) ?? []), sample]);
    onSample(name, round, sample);
  };
  for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round += 1) {
    for (const circumstance of ['all there', 'alone'] as const) {
      const { pulled, started } = await prepare(seeded, input, `${round}-${circumstance.replace(' ', '-')}`);
      if (circumstance === 'alone') await leaveAlone(seeded, true);
      const pulls = await atOnce(clients, async ({ client }) => {
        const { receipt } = await client.pull({ image: pulled.reference });
        if (receipt.upstreamBytes > 0) throw new Error('the registry gave what another host has');
      });
      await requireAllRight(
        clients,
        pulled.layers.map(({ digest }) => digest),
      );
      const starts = await atOnce(clients, async ({ client }) => {
        const { id, rootfs } = await client.start({ image: started.reference });
        const wrong = await wrongFileIn(rootfs, started.files);
        if (wrong !== undefined) throw new Error(`${wrong} is something else`);
        await client.endStart(id);
      });
      note(`drakkar, pull, ${circumstance}`, round, pulls);
      note(`drakkar, start and read of all, ${circumstance}`, round, starts);
      if (circumstance === 'alone') await leaveAlone(seeded, false);
    }
  }
  const series: Series[] = [...samples].map(([name, each]) => ({ name, samples: each }));
  const ratio = (what: string) => {
    const wall = (circumstance: Circumstance) =>
      medianOf(series, `drakkar, ${what}, ${circumstance}`, ({ wallMs }) => wallMs);
    return wall('alone') / wall('all there');
  };
  return [
    {
      name: 'autonomy',
      title: `${input.hosts} hosts with neither registry nor supernode, links of 100 Mbit/s`,
      method: METHOD,
      series,
      input: { ...input, rate: RATE, command: SMALL_COMMAND },
      claims: [
        atMost('registry and supernode away: slowest pull, against all there', ratio('pull'), '×', 1.5),
        atMost(
          'registry and supernode away: slowest start and read of all, against all there',
          ratio('start and read of all'),
          '×',
          1.5,
        ),
      ],
    },
  ];
};

/** Two images of which the seed has one's layers, and the other's snapshot, and the others have what leads there. */
async function prepare(seeded: SeededFleet, { layers: count, layerBytes }: typeof FULL, name: string) {
  const { fleet, seed, clients } = seeded;
  const push = async (repository: string) => {
    const { layers, files } = smallImage(count, layerBytes);
    const options = { repository, tag: 'latest', command: SMALL_COMMAND };
    const { reference } = await pushLayers(fleet.registry, layers, options);
    return { reference, layers, files };
  };
  const [pulled, started] = [await push(`bench/pulled-${name}`), await push(`bench/started-${name}`)];
  await seed.client.pull({ image: pulled.reference });
  await seedSnapshot(seeded, started.reference);
  for (const { client } of clients) {
    await client.pull({ image: pulled.reference, layers: false });
    const { id } = await client.start({ image: started.reference });
    await client.endStart(id);
  }
  return { pulled, started };
}

async function leaveAlone({ fleet }: SeededFleet, isAlone: boolean): Promise<void> {
  await fleet.registryPlace?.plug(!isAlone);
  if (isAlone) return await fleet.supernode.kill('SIGKILL');
  await fleet.supernode.start();
  await untilJoined(fleet);
}

function atOnce(hosts: readonly FleetHost[], task: (host: FleetHost) => Promise<void>): Promise<number[]> {
  return Promise.all(hosts.map((host) => timed(() => task(host))));
}
