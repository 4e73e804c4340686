import { signal } from '@preact/signals';
import { authorization } from './api.ts';
import { access, refuse, token } from './session.ts';
import { backOffMs, EventParser } from './sse.ts';

/** Whether what is shown is of now. */
export const link = signal<'connecting' | 'live' | 'reconnecting'>('connecting');
/** When the supernode was last heard. */
export const heardAtMs = signal(Date.now());
/** Grows when all that is shown must be fetched again. */
export const generation = signal(0);

export type Topic = 'job' | 'host' | 'traffic' | 'snapshot';

/** The supernode says that it is alive each 15 s. */
const SILENCE_MS = 40_000;

const listeners = new Set<(topic: string, data: unknown) => void>();

/** @returns what ends it */
export function onEvents(listener: (topic: string, data: unknown) => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Listens until the signal is aborted, however often the supernode goes away and comes back. */
export async function listen(until: AbortSignal): Promise<void> {
  let lastId: string | null = null;
  let failures = 0;
  while (!until.aborted) {
    const session = new AbortController();
    const end = () => session.abort();
    until.addEventListener('abort', end);
    try {
      for await (const { id, topic, data } of stream(session, lastId)) {
        failures = 0;
        link.value = 'live';
        heardAtMs.value = Date.now();
        if (topic === 'reset') {
          lastId = null;
          generation.value += 1;
        } else if (topic !== 'alive') {
          lastId = id ?? lastId;
          const value: unknown = JSON.parse(data);
          for (const listener of listeners) listener(topic, value);
        }
      }
    } catch {
      // Whatever ended it, the answer is to begin again.
    } finally {
      session.abort();
      until.removeEventListener('abort', end);
    }
    if (until.aborted || access.value === 'closed') return;
    link.value = 'reconnecting';
    await pause(backOffMs(failures, Math.random()), until);
    failures += 1;
  }
}

interface Heard {
  readonly id: string | null;
  readonly topic: string;
  readonly data: string;
}

const ALIVE: Heard = { id: null, topic: 'alive', data: '' };

async function* stream(session: AbortController, lastId: string | null): AsyncGenerator<Heard> {
  const used = token.value;
  let silence = setTimeout(() => session.abort(), SILENCE_MS);
  try {
    const answer = await fetch('api/v1/events', {
      headers: { ...authorization(used), ...(lastId === null ? {} : { 'last-event-id': lastId }) },
      signal: session.signal,
      cache: 'no-store',
      credentials: 'omit',
    });
    if (answer.status === 401) refuse(used);
    if (!answer.ok || answer.body === null) return;
    yield ALIVE;
    const parser = new EventParser();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(() => session.abort(), SILENCE_MS);
      yield ALIVE;
      yield* parser.push(value);
    }
  } finally {
    clearTimeout(silence);
  }
}

function pause(ms: number, until: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const end = () => {
    clearTimeout(timer);
    resolve();
  };
  until.addEventListener('abort', end, { once: true });
  // Whoever looks again, or has a network again, does not wait.
  addEventListener('online', end, { once: true });
  return promise.finally(() => {
    until.removeEventListener('abort', end);
    removeEventListener('online', end);
  });
}
