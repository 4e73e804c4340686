import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const TREE = join(import.meta.dirname, '../../..');
const GOVERNOR = '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor';

/** Programs that benchmarks start, by how they say their version. */
const TOOLS: Readonly<Record<string, readonly string[]>> = {
  containerd: ['--version'],
  runc: ['--version'],
  nginx: ['-v'],
  fio: ['--version'],
  curl: ['--version'],
  tc: ['-V'],
};

const run = promisify(execFile);

/** Where something was measured, and of which code. */
export interface Facts {
  readonly machine: {
    readonly kernel: string;
    readonly cores: number;
    readonly cpu: string;
    /** What the kernel sets the clock by; null where it does not, as in virtual machines. */
    readonly governor: string | null;
    readonly memoryBytes: number;
    readonly node: string;
  };
  /** Null where the code is no clone. What is only in bench/results does not count as changed. */
  readonly code: { readonly commit: string; readonly isClean: boolean } | null;
  /** What the programs say of their version, in a line each; those that are there. */
  readonly tools: Readonly<Record<string, string>>;
}

export async function findFacts(): Promise<Facts> {
  return {
    machine: {
      kernel: release(),
      cores: cpus().length,
      cpu: cpus()[0]?.model ?? 'unknown',
      governor: await readFile(GOVERNOR, 'utf8').then(
        (text) => text.trim(),
        () => null,
      ),
      memoryBytes: totalmem(),
      node: process.version,
    },
    code: await findCode(),
    tools: await findTools(),
  };
}

/** Processes that ran or waited to, on average over the last minute. */
export const loadNow = (): number => loadavg()[0] ?? 0;

async function findCode(): Promise<Facts['code']> {
  try {
    const git = async (...args: string[]) => (await run('git', ['-C', TREE, ...args])).stdout.trim();
    const commit = await git('rev-parse', 'HEAD');
    const changes = await git('status', '--porcelain', '--untracked-files=no', '.', ':!bench/results');
    return { commit, isClean: changes === '' };
  } catch {
    return null;
  }
}

async function findTools(): Promise<Facts['tools']> {
  const versions = Object.entries(TOOLS).map(async ([name, args]) => {
    const said = await run(name, [...args]).then(
      ({ stdout, stderr }) => stdout || stderr,
      () => '',
    );
    return [name, said.split('\n')[0] ?? ''] as const;
  });
  return Object.fromEntries((await Promise.all(versions)).filter(([, version]) => version !== ''));
}
