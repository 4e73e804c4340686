import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { z } from 'zod';

export interface FioJob {
  readonly path: string;
  readonly pattern: 'read' | 'randread';
  readonly engine: 'psync' | 'mmap';
  readonly blockBytes: number;
  /** In all: the file is read again where it is shorter. */
  readonly readBytes: number;
}

const outputSchema = z.object({ jobs: z.tuple([z.object({ read: z.object({ runtime: z.number() }) })]) });

/** Reads a file with fio, as it is cached. @returns milliseconds */
export async function runFio(job: FioJob): Promise<number> {
  const { stdout } = await promisify(execFile)('fio', [
    '--name=read',
    '--readonly',
    '--thread',
    '--invalidate=0',
    '--randseed=1',
    '--output-format=json',
    `--filename=${job.path}`,
    `--rw=${job.pattern}`,
    `--ioengine=${job.engine}`,
    `--bs=${job.blockBytes}`,
    `--io_size=${job.readBytes}`,
  ]);
  return outputSchema.parse(JSON.parse(stdout)).jobs[0].read.runtime;
}
