import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { debianImage, type ImageLayer, layerOfFile } from '@drakkar/lab';
import { BUILT_IN } from '../comparisons/built-in.ts';
import {
  type ComparedImage,
  type Contender,
  type Host,
  loadContender,
  type Site,
  Unavailable,
} from '../comparisons/contender.ts';
import { drakkar } from '../comparisons/drakkar.ts';
import { type Ground, startGround } from '../fleet/ground.ts';
import { freshLayers, SMALL_COMMAND, smallImage } from '../runner/fresh-layers.ts';
import { pushLayers } from '../runner/images.ts';
import { atMost, type Claim, type Result } from '../runner/results.ts';
import { medianOf, type Series, timed } from '../runner/samples.ts';
import { warmMemory } from '../runner/warm-memory.ts';
import type { Scenario, ScenarioOptions } from '../scenario.ts';

const RATE = 100e6;
const MAX_ROUNDS = 3;
const PACKAGES = ['python3', 'python3-numpy'];
const COMMAND = ['python3', '-c', 'import numpy; print(numpy.arange(9).sum(), flush=True)'];
const SMALL = { layers: 3, layerBytes: 512 * 1024 };

const METHOD = [
  'Hosts and a registry are in network namespaces, each behind a link of 100 Mbit/s both ways, with nothing on them but the contender whose turn it is.',
  'Fetched: all hosts at once get every layer of an image that nobody has seen. Those that fetch by containerd unpack it with overlayfs, too.',
  'Started: all hosts at once begin with nothing of another such image, and run a container of it; the time is that to its first output.',
  'The time is that of the slowest host, and what the registry gave is counted on its link, headers included.',
  'A cache has a machine of its own beside the hosts, with a link as theirs.',
].join(' ');

/** What one contender made of both images, once. */
interface Turn {
  readonly contender: string;
  readonly fetchedMs: readonly number[];
  /** Of the registry's link, against the size of the image. */
  readonly fetchedFromRegistry: number;
  readonly startedMs?: readonly number[];
  readonly startedFromRegistry?: number;
}

/** An image to many hosts at once by what else there is, each in turn. */
export const compare: Scenario = async ({ rounds, isQuick, onSample, contenders = [] }) => {
  const hosts = isQuick ? 3 : 8;
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp('/var/tmp/drakkar-compare-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const ground = stack.use(await startGround({ hosts, rate: RATE, namespaces: true }));
  const push = await imagesOf(ground, isQuick, directory);
  const all = [...BUILT_IN, ...(await Promise.all(contenders.map(loadContender)))];
  const leftOut: Record<string, string> = {};
  const turns: Turn[] = [];
  for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round += 1) {
    for (const contender of all) {
      if (contender.name in leftOut) continue;
      await using site = await siteOf(ground);
      try {
        const turn = await takeTurn(contender, site, push);
        turns.push(turn);
        report(turn, round, onSample);
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        leftOut[contender.name] = error.message;
        process.stderr.write(`compare: without ${contender.name}: ${error.message}\n`);
      }
    }
  }
  const input = { hosts, rate: RATE, leftOut, turns };
  return [
    resultOf('fetched', `An image to ${hosts} hosts at once, links of 100 Mbit/s`, turns, input),
    resultOf('started', `A container on ${hosts} hosts at once, links of 100 Mbit/s`, turns, input),
  ];
};

async function takeTurn(
  contender: Contender,
  site: Site & { sentBytes(): Promise<number> },
  push: () => Promise<ComparedImage>,
): Promise<Turn> {
  await using prepared = await contender.prepare(site);
  const herd = async (task: (host: Host, image: ComparedImage) => Promise<number>) => {
    const image = await push();
    // What they write, as it comes and unpacked.
    await warmMemory(2 * image.sizeBytes * site.hosts.length);
    const before = await site.sentBytes();
    const elapsedMs = await Promise.all(site.hosts.map((host) => task(host, image)));
    return { elapsedMs, fromRegistry: ((await site.sentBytes()) - before) / image.sizeBytes };
  };
  const fetched = await herd((host, image) => timed(() => prepared.fetch(host, image)));
  const turn = {
    contender: contender.name,
    fetchedMs: fetched.elapsedMs,
    fetchedFromRegistry: fetched.fromRegistry,
  };
  const { start } = prepared;
  if (start === undefined) return turn;
  const started = await herd(start);
  return { ...turn, startedMs: started.elapsedMs, startedFromRegistry: started.fromRegistry };
}

async function siteOf(ground: Ground): Promise<Site & AsyncDisposable & { sentBytes(): Promise<number> }> {
  const { network, registry, registryPlace } = ground;
  if (network === undefined || registryPlace === undefined) throw new Error('a comparison needs namespaces');
  const hosts = ground.hosts.flatMap(({ place }, index) => (place === undefined ? [] : [{ index, place }]));
  const directory = await mkdtemp('/var/tmp/drakkar-contender-');
  return {
    ...{ hosts, registry, registryPlace, directory, ground },
    registryStorage: join(registry.directory, 'storage'),
    addMachine: () => network.add({ rate: RATE }),
    sentBytes: () => registryPlace.sentBytes(),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Makes and pushes images that nobody has seen. */
async function imagesOf(
  { registry }: Ground,
  isQuick: boolean,
  directory: string,
): Promise<() => Promise<ComparedImage>> {
  const debian = isQuick ? [] : (await debianImage({ packages: PACKAGES })).layers;
  let images = 0;
  return async () => {
    images += 1;
    const layers: readonly ImageLayer[] = isQuick
      ? smallImage(SMALL.layers, SMALL.layerBytes).layers
      : (await freshLayers(debian, directory)).map(layerOfFile);
    const repository = `bench/compared-${images}`;
    const command = isQuick ? SMALL_COMMAND : COMMAND;
    const pushed = await pushLayers(registry, layers, { repository, tag: 'latest', command });
    return { ...pushed, repository, layers };
  };
}

function report(
  { contender, fetchedMs, startedMs }: Turn,
  round: number,
  onSample: ScenarioOptions['onSample'],
) {
  onSample(`${contender}, fetched`, round, { wallMs: Math.max(...fetchedMs) });
  if (startedMs !== undefined) onSample(`${contender}, started`, round, { wallMs: Math.max(...startedMs) });
}

function resultOf(
  which: 'fetched' | 'started',
  title: string,
  turns: readonly Turn[],
  input: Result['input'],
): Result {
  const names = [...new Set(turns.map(({ contender }) => contender))];
  const series = names.flatMap((name): Series[] => {
    const samples = turns
      .filter(({ contender }) => contender === name)
      .flatMap((turn) => {
        const elapsedMs = turn[`${which}Ms`];
        return elapsedMs === undefined ? [] : [{ wallMs: Math.max(...elapsedMs) }];
      });
    return samples.length === 0 ? [] : [{ name, samples }];
  });
  return {
    name: `compare-${which}`,
    title,
    method: METHOD,
    series,
    input,
    claims: claimsOf(which, series),
  };
}

function claimsOf(which: string, series: readonly Series[]): Claim[] {
  const wall = (name: string) => medianOf(series, name, ({ wallMs }) => wallMs);
  return series
    .filter(({ name }) => name !== drakkar.name)
    .map(({ name }) =>
      atMost(`${which}: slowest host, drakkar against ${name}`, wall(drakkar.name) / wall(name), '×', 1),
    );
}
