import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A group of processes that together have so much memory, page cache included. */
export interface MemoryLimit extends AsyncDisposable {
  /** Of processes that are to be in it. */
  readonly procs: string;
  add(pid: number): void;
  /** How often one of them was killed for want of memory. */
  readonly killed: number;
}

const V1 = '/sys/fs/cgroup/memory';
const V2 = '/sys/fs/cgroup';

/** @throws where this system lets nobody make such groups */
export function limitMemory(name: string, bytes: number): MemoryLimit {
  const isOld = existsSync(join(V1, 'memory.limit_in_bytes'));
  const path = join(isOld ? V1 : V2, `drakkar-test-${process.pid}-${name}`);
  mkdirSync(path);
  writeFileSync(join(path, isOld ? 'memory.limit_in_bytes' : 'memory.max'), `${bytes}`);
  const procs = join(path, 'cgroup.procs');
  return {
    procs,
    add: (pid) => writeFileSync(procs, `${pid}`),
    get killed() {
      const words = readFileSync(join(path, isOld ? 'memory.oom_control' : 'memory.events'), 'utf8');
      return Number(/^oom_kill (\d+)$/m.exec(words)?.[1] ?? 0);
    },
    async [Symbol.asyncDispose]() {
      // Whoever has just ended is still counted for a moment; who goes on goes back to where all are.
      for (const pid of readFileSync(procs, 'utf8').split('\n').filter(Boolean)) {
        writeFileSync(join(isOld ? V1 : V2, 'cgroup.procs'), pid);
      }
      for (let attempt = 0; attempt < 50 && existsSync(path); attempt += 1) {
        try {
          rmdirSync(path);
        } catch {
          await delay(20);
        }
      }
    },
  };
}
