import { DrakkarError } from '@drakkar/errors';

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];

const controller = new AbortController();

/** A terminal and npm may both pass on one Ctrl-C: what follows this closely is the same one. */
const SAME_INTERRUPT_MS = 1000;

let interruptedAtMs = 0;

function stop(signal: NodeJS.Signals): void {
  if (controller.signal.aborted) {
    if (performance.now() - interruptedAtMs > SAME_INTERRUPT_MS) process.exit(130);
    return;
  }
  interruptedAtMs = performance.now();
  controller.abort(new DrakkarError('cancelled', `ended by ${signal}`));
}

/** Aborts at the first Ctrl-C or SIGTERM; a second one ends the process at once. */
export function untilInterrupted(): AbortSignal {
  for (const signal of SIGNALS) if (!process.listeners(signal).includes(stop)) process.on(signal, stop);
  return controller.signal;
}

/** While it lasts somebody else handles the signals: a container that is to hear them all. */
export function releaseInterrupts(): Disposable {
  for (const signal of SIGNALS) process.off(signal, stop);
  return { [Symbol.dispose]: () => void untilInterrupted() };
}
