import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { DrakkarError, isDrakkarError } from '@drakkar/protocol';
import { isAnswered, makeDirectory } from '@drakkar/service';
import { type NativeHelper, nativeHelper } from './native.ts';

/** The helper's program: `$DRAKKAR_NATIVE`, this tree's own build, or the one on the PATH. */
export function nativeProgram(): string {
  const built = join(import.meta.dirname, '../../native/target/release/drakkar-native');
  return process.env.DRAKKAR_NATIVE ?? (existsSync(built) ? built : 'drakkar-native');
}

export interface HelperOptions {
  readonly root: string;
  /** The daemon's raw snapshot files. */
  readonly content: string;
  /** The daemon's blobs. */
  readonly blobs: string;
  readonly socket: string;
  /** Who may connect. */
  readonly uid: number;
  /** How long a reader waits for what is missing. */
  readonly readDeadlineMs?: number;
  /** Hears what it says, as it says it. */
  readonly onWords?: (words: string) => void;
  readonly signal: AbortSignal;
}

const START_DEADLINE_MS = 10_000;
const POLL_MS = 10;
/** How long one that was killed may take to end: the kernel closes its socket last. */
const END_PATIENCE_MS = 2_000;
/** Enough of what it said last to see why it ended. */
const MAX_OUTPUT_CHARACTERS = 4096;

/** A running helper of our own; disposing it ends the process. Mounts are not its to remove then: unmount them before. */
export interface Helper extends AsyncDisposable {
  readonly pid: number;
  /** What it has said last. */
  readonly words: string;
  /** Its last words, once it has ended. */
  readonly ended: Promise<string>;
}

/** Between the end of a helper and the next: one that can't come up must not keep the machine busy. */
const RESTART_PAUSE_MS = 500;

/**
 * A helper that is started again whenever it ends, until it is disposed of: mounts and containers outlive it, and the next one
 * knows them.
 *
 * @param onEnd told the last words of each that ends by itself, and why one could not be started again
 */
export async function keepHelper(
  options: HelperOptions,
  onEnd: (words: string) => void,
): Promise<AsyncDisposable> {
  const stopping = new AbortController();
  const { signal } = stopping;
  let helper: Helper | undefined = await startHelper(options);
  const keep = async () => {
    for (;;) {
      const words = await helper?.ended;
      if (signal.aborted) return;
      if (words !== undefined) onEnd(words);
      await delay(RESTART_PAUSE_MS, undefined, { signal });
      helper = await startHelper({ ...options, signal }).catch((error: Error) => {
        if (!signal.aborted) onEnd(error.message);
        return undefined;
      });
    }
  };
  const keeping = keep().catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await helper?.[Symbol.asyncDispose]();
      await keeping;
      await helper?.[Symbol.asyncDispose]();
    },
  };
}

/** @throws `unsupported` where it can't be started, with its own words */
export async function startHelper(options: HelperOptions): Promise<Helper> {
  for (const directory of [options.root, dirname(options.socket)]) await makeDirectory(directory);
  await untilNobodyAnswers(options);
  const { root, content, blobs, socket, uid, readDeadlineMs } = options;
  const args = [
    '--root',
    root,
    '--content',
    content,
    '--blobs',
    blobs,
    '--socket',
    socket,
    '--uid',
    `${uid}`,
  ];
  if (readDeadlineMs !== undefined) args.push('--read-deadline-ms', `${readDeadlineMs}`);
  const child = spawn(nativeProgram(), [...args, '--end-with-parent'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // Its own group: a Ctrl-C is for us, and we end it when we are done with it.
    detached: true,
  });
  let output = '';
  child.stderr.on('data', (bytes) => {
    output = (output + bytes).slice(-MAX_OUTPUT_CHARACTERS);
    options.onWords?.(String(bytes));
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (cause) => resolve(cause.message));
    child.once('close', () => resolve(output.trim()));
  });
  try {
    await untilItAnswers(options, child.pid, ended);
  } catch (error) {
    await end(child);
    throw error;
  }
  return {
    pid: child.pid ?? 0,
    get words() {
      return output;
    },
    ended,
    [Symbol.asyncDispose]: () => end(child),
  };
}

async function untilNobodyAnswers({ socket, signal }: HelperOptions): Promise<void> {
  const lastMs = performance.now() + END_PATIENCE_MS;
  while (await isAnswered(socket)) {
    if (performance.now() > lastMs) throw anotherHelper(`another helper already listens on ${socket}`);
    await delay(POLL_MS, undefined, { signal });
  }
}

function anotherHelper(words: string): DrakkarError {
  return new DrakkarError('busy', words, {
    hint: 'stop the other `drakkar up` first, or give this one a native.socket and a state directory of its own',
  });
}

async function untilItAnswers(
  options: HelperOptions,
  pid: number | undefined,
  ended: Promise<string>,
): Promise<void> {
  const deadline = AbortSignal.any([options.signal, AbortSignal.timeout(START_DEADLINE_MS)]);
  const gone = ended.then((words) => {
    if (words.includes('another helper already')) throw anotherHelper(words);
    throw new DrakkarError('unsupported', `the native helper did not start: ${words}`, {
      hint: 'it must run as root; `npm run setup` builds it',
    });
  });
  const answering = (async () => {
    await using helper = nativeHelper(options.socket);
    while (!(await answers(helper, deadline))) {
      await delay(POLL_MS, undefined, { signal: deadline });
    }
    // Ours ends when it finds that another was quicker; that one is not ours to use.
    const answering = helper.pid;
    if (answering !== null && answering !== pid) {
      await ended;
      throw anotherHelper(`another helper, process ${answering}, listens on ${options.socket}`);
    }
  })();
  gone.catch(() => undefined);
  await Promise.race([gone, answering]);
}

/** A helper that refuses us, because it serves another user, answers. */
function answers(helper: NativeHelper, signal: AbortSignal): Promise<boolean> {
  return helper.volumes({ signal }).then(
    () => true,
    (error: unknown) => isDrakkarError(error, 'forbidden'),
  );
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  await closed;
}
