import {
  type CredentialMessage,
  DrakkarError,
  type ImageReference,
  parseReference,
  type RegistryCredential,
  type TaskMessage,
  toDrakkarError,
} from '@drakkar/protocol';
import { currentSpan, type Tracing } from '@drakkar/service';
import { type Log, Work } from '../snapshots/index.ts';
import type { TaskReportInit } from '../swarm/index.ts';
import type { TaskOutcome, TaskWork } from './work.ts';

export interface HostTasksModules {
  /** Does one task. */
  work(task: TaskWork, work: Work, id: string): Promise<TaskOutcome>;
  /** What a task has left for others to have is not needed any more. Never rejects. */
  release(id: string): Promise<void>;
  /** An image is to be read with this. */
  entrust(image: ImageReference, credential: RegistryCredential): void;
  report(report: TaskReportInit): void;
  readonly log: Log;
  readonly tracing: Tracing;
}

/** So many are done at the same time; the others wait for their turn, */
const AT_ONCE = 4;
/** and so many may. */
const MAX_WAITING = 256;
/** Ended ones whose outcome is told again to a supernode that asks again. */
const MAX_REMEMBERED = 512;
const REPORT_INTERVAL_MS = 500;
/** Who waits for its turn is not taken for one that does not get on. */
const ALIVE_MS = 2_000;

interface Running {
  readonly ending: AbortController;
  done: Promise<void>;
}

/** Does what the supernode says: each task once, however often it says so. */
export class HostTasks implements AsyncDisposable {
  readonly #modules: HostTasksModules;
  readonly #running = new Map<string, Running>();
  readonly #waiting: { readonly id: string; begin(): void }[] = [];
  /** The one that ended longest ago first. */
  readonly #ended = new Map<string, TaskReportInit>();
  #busy = 0;

  constructor(modules: HostTasksModules) {
    this.#modules = modules;
  }

  begin({ id, work, credential }: TaskMessage, traceparent: string): void {
    const ended = this.#ended.get(id);
    if (ended !== undefined) this.#modules.report(ended);
    if (ended !== undefined || this.#running.has(id)) return;
    if (work.case === undefined) {
      // Something that a later version would have done.
      this.#end(id, failure(new DrakkarError('unsupported', 'this host does not know such tasks')));
      return;
    }
    if (this.#waiting.length >= MAX_WAITING) {
      this.#modules.report({ id, ...failure(new DrakkarError('busy', 'this host has too much to do')) });
      return;
    }
    if (credential !== undefined) this.#entrust(work, credential);
    const running: Running = { ending: new AbortController(), done: Promise.resolve() };
    this.#running.set(id, running);
    const options = { traceparent, attributes: { task: id } };
    running.done = this.#modules.tracing.run(`task ${work.case}`, options, () =>
      this.#run(id, work, running.ending.signal),
    );
  }

  /** What is wrong with the image's name the work says. */
  #entrust(work: TaskWork, { username, password, identityToken }: CredentialMessage): void {
    const named = 'image' in work.value ? work.value.image?.reference : undefined;
    if (named === undefined) return;
    const credential = identityToken === '' ? { username, password } : { identityToken };
    try {
      this.#modules.entrust(parseReference(named), credential);
    } catch (error) {
      this.#modules.log.debug({ error }, 'a credential for no image is left out');
    }
  }

  cancel(id: string): void {
    this.#running.get(id)?.ending.abort(new DrakkarError('cancelled', 'it is wanted no longer'));
    void this.#modules.release(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = [...this.#running.values()];
    for (const { ending } of running) ending.abort(new DrakkarError('cancelled', 'the daemon stops'));
    await Promise.all(running.map(({ done }) => done));
  }

  /** Never rejects: what goes wrong the supernode is told. */
  async #run(id: string, task: TaskWork, signal: AbortSignal): Promise<void> {
    const { log, report } = this.#modules;
    try {
      const alive = setInterval(() => report({ id, phase: 'waiting' }), ALIVE_MS);
      try {
        await this.#turn(id, signal);
      } finally {
        clearInterval(alive);
      }
      // It knows that its turn has come.
      report({ id });
      let toldAtMs = performance.now();
      const onProgress = (phase: string, doneBytes: number, totalBytes: number) => {
        if (performance.now() - toldAtMs < REPORT_INTERVAL_MS) return;
        toldAtMs = performance.now();
        report({ id, phase, doneBytes: BigInt(doneBytes), totalBytes: BigInt(totalBytes) });
      };
      const work = new Work({
        signal,
        onProgress: ({ phase, doneBytes, totalBytes }) => onProgress(phase, doneBytes, totalBytes),
      });
      // It ends by its own bound, however slow it is to be.
      const isBound = task.case === 'measure';
      const measuring = isBound ? setInterval(() => report({ id, phase: 'waiting' }), ALIVE_MS) : undefined;
      try {
        this.#end(id, { result: await this.#modules.work(task, work, id) });
        const { upstreamBytes, peerBytes, storeBytes } = work.receipt;
        log.info(
          { task: id, kind: task.case, upstreamBytes, peerBytes, storeBytes },
          'a task of the cluster is done',
        );
      } finally {
        clearInterval(measuring);
        this.#busy -= 1;
        this.#waiting.shift()?.begin();
      }
    } catch (cause) {
      const error = toDrakkarError(cause);
      log.warn({ task: id, kind: task.case, error }, 'a task of the cluster failed');
      currentSpan()?.end(error);
      this.#end(id, failure(error));
    }
  }

  async #turn(id: string, signal: AbortSignal): Promise<void> {
    if (this.#busy >= AT_ONCE) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const waiting = { id, begin: resolve };
      this.#waiting.push(waiting);
      const leave = () => {
        const at = this.#waiting.indexOf(waiting);
        if (at >= 0) this.#waiting.splice(at, 1);
        resolve();
      };
      signal.addEventListener('abort', leave, { once: true });
      await promise;
      signal.removeEventListener('abort', leave);
    }
    signal.throwIfAborted();
    this.#busy += 1;
  }

  #end(id: string, outcome: Omit<TaskReportInit, 'id'>): void {
    this.#running.delete(id);
    const report = { id, ...outcome };
    // What was cancelled may be wanted again.
    if (outcome.error?.code !== 'cancelled') this.#ended.set(id, report);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > MAX_REMEMBERED && oldest !== undefined) this.#ended.delete(oldest);
    this.#modules.report(report);
  }
}

function failure({ code, message, hint = '' }: DrakkarError): Omit<TaskReportInit, 'id'> {
  return { error: { code, message, hint } };
}
