import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { heldByTree } from '../runner/process.ts';
import type { Reading } from '../runner/trend.ts';

/** A process to be watched, and what it keeps on a disk. */
export interface Patient {
  readonly name: string;
  pid(): number;
  readonly directory?: string;
}

export type Vital = 'memory' | 'fds' | 'threads' | 'disk';

export interface Vitals {
  readonly name: string;
  readonly readings: Readonly<Record<Vital, readonly Reading[]>>;
}

/** Looks at some processes again and again until the signal. */
export async function watchVitals(
  patients: readonly Patient[],
  everyMs: number,
  signal: AbortSignal,
): Promise<Vitals[]> {
  const watched = patients.map((patient) => {
    const readings: Record<Vital, Reading[]> = { memory: [], fds: [], threads: [], disk: [] };
    return { patient, readings };
  });
  const beganMs = performance.now();
  while (!signal.aborted) {
    const atMs = Math.round(performance.now() - beganMs);
    for (const { patient, readings } of watched) {
      const { rssBytes, fds, threads } = await heldByTree(patient.pid());
      readings.memory.push({ atMs, value: rssBytes });
      readings.fds.push({ atMs, value: fds });
      readings.threads.push({ atMs, value: threads });
      if (patient.directory !== undefined)
        readings.disk.push({ atMs, value: await diskBytes(patient.directory) });
    }
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
  return watched.map(({ patient: { name }, readings }) => ({ name, readings }));
}

/** What files take, without their holes. Those that go meanwhile are left out. @throws where there is nothing to look at */
async function diskBytes(directory: string): Promise<number> {
  const args = ['--summarize', '--one-file-system', '--block-size=1', directory];
  const { stdout } = await promisify(execFile)('du', args).catch((error: { readonly stdout: string }) => {
    if (error.stdout === '') throw error;
    return error;
  });
  return Number(stdout.split('\t')[0]);
}
