/** Entry of the thread that finds the files of a trace; started by {@link filesOfTrace} and by nothing else. */
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { toDrakkarError } from '@drakkar/protocol';
import { readErofs } from '../erofs/index.ts';
import { filesIn } from './files-in.ts';
import type { TraceFiles, TraceFilesRequest } from './trace-files.ts';

function answer({ metaPath, ranges }: TraceFilesRequest): TraceFiles {
  try {
    return { files: filesIn(readErofs(readFileSync(metaPath)).root, ranges) };
  } catch (error) {
    return { error: toDrakkarError(error).toJSON() };
  }
}

parentPort?.postMessage(answer(workerData as TraceFilesRequest));
