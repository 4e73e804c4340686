interface Flight<Value> {
  readonly outcome: Promise<Value>;
  readonly controller: AbortController;
  waiters: number;
}

/** One run of a task for all who want its outcome at the same time. It is aborted when the last of them has left. */
export class SingleFlight<Key, Value> {
  readonly #flights = new Map<Key, Flight<Value>>();

  /** Rejects with the signal's reason as soon as it aborts, whatever the task does then. */
  async run(key: Key, signal: AbortSignal, task: (signal: AbortSignal) => Promise<Value>): Promise<Value> {
    signal.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#begin(key, task);
    flight.waiters += 1;
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([flight.outcome, left.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      flight.waiters -= 1;
      if (flight.waiters === 0) {
        flight.controller.abort();
        this.#forget(key, flight);
      }
    }
  }

  #begin(key: Key, task: (signal: AbortSignal) => Promise<Value>): Flight<Value> {
    const controller = new AbortController();
    const outcome = task(controller.signal);
    const flight = { outcome, controller, waiters: 0 };
    this.#flights.set(key, flight);
    // Its waiters hear of a failure through their own race; the flight itself must not be an unhandled one.
    outcome.catch(() => undefined).finally(() => this.#forget(key, flight));
    return flight;
  }

  #forget(key: Key, flight: Flight<Value>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
