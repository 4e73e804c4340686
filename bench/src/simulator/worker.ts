import { parentPort, workerData } from 'node:worker_threads';
import { LOCALITY_LABELS } from '@drakkar/protocol';
import type { PlainScene } from './run.ts';
import { type Scene, simulate } from './simulate.ts';

/** One way, by what two hosts share: a rack, a zone, a region, nothing. */
const LATENCIES_MS = [0.05, 0.05, 0.15, 0.5, 15];
const UNTIL_MS = 3_600_000;

function sceneOf({ racks, ...plain }: PlainScene): Scene {
  const nowhere = LATENCIES_MS[LOCALITY_LABELS.indexOf('zone')] ?? 0;
  return {
    latencyMs: (distance) => (racks === undefined ? nowhere : (LATENCIES_MS[distance] ?? nowhere)),
    untilMs: UNTIL_MS,
    ...plain,
    ...(racks === undefined ? {} : { labels: (host) => placeOf(host, racks) }),
  };
}

function placeOf(host: number, { hosts, racks, zones }: NonNullable<PlainScene['racks']>) {
  const rack = Math.floor(host / hosts);
  const zone = Math.floor(rack / racks);
  return { rack: `rack-${rack}`, zone: `zone-${zone}`, region: `region-${Math.floor(zone / zones)}` };
}

parentPort?.postMessage(simulate(sceneOf(workerData)));
