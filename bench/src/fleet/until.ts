import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet } from './fleet.ts';

const JOIN_MS = 300_000;
const LOOK_MS = 50;

/** Returns when every host is connected to its supernode. @throws where one is not within five minutes */
export async function untilJoined({ hosts }: Fleet): Promise<void> {
  for (const { client } of hosts) {
    const isUp = async () => (await client.status()).swarm?.supernode.up === true;
    if (!(await holdsWithin(JOIN_MS, isUp))) throw new Error('a host did not reach its supernode');
  }
}

/** Looks again and again. @returns whether it came to hold in time */
export async function holdsWithin(deadlineMs: number, holds: () => Promise<boolean>): Promise<boolean> {
  for (const endMs = performance.now() + deadlineMs; performance.now() < endMs; await sleep(LOOK_MS))
    if (await holds()) return true;
  return false;
}
