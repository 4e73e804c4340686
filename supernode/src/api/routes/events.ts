import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { type ApiEvent, EVENT_TOPICS } from '../events.ts';
import type { ApiModules } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';
import { shownJob } from '../shown-job.ts';
import { type ApiRole, mayDo } from '../tokens.ts';

/** What nobody reads is not kept: who comes back is told. */
const MAX_UNREAD_BYTES = 1024 * 1024;
/** Of all listeners together; those go that have more than their share. */
const MAX_ALL_UNREAD_BYTES = 256 * 1024 * 1024;
/** Who has missed more looks at everything anew. */
const MAX_MISSED_BYTES = MAX_UNREAD_BYTES / 2;
const CHECK_MS = 500;
const ALIVE_MS = 15_000;
const MAX_LISTENERS = 1_000;

const query = z.object({
  topics: z
    .string()
    .max(200)
    .optional()
    .describe(`Of ${EVENT_TOPICS.join(', ')}, with commas between; all where nothing is said.`),
});

/** Server-sent events. Source: the HTML standard, “Server-sent events”. */
export function eventRoutes(server: ApiRoutes, { events, tokens }: ApiModules): void {
  const unread = new Unread(MAX_UNREAD_BYTES, MAX_ALL_UNREAD_BYTES);
  server.get(
    '/events',
    {
      schema: {
        tags: ['events'],
        operationId: 'streamEvents',
        summary: 'What happens, as server-sent events',
        description:
          'Whoever comes back with `Last-Event-ID` is told what happened meanwhile; the event `reset` says that nobody knows, and that all is to be looked at anew.',
        querystring: query,
        response: { 200: z.string().describe('text/event-stream') },
      },
    },
    async (request, reply) => {
      const { caller } = request;
      const wanted = new Set(request.query.topics?.split(',') ?? EVENT_TOPICS);
      if (events.listeners >= MAX_LISTENERS) {
        throw Object.assign(new Error('too many listen'), { statusCode: 429 });
      }
      reply.hijack();
      const { raw } = reply;
      // Who left while it was looked at who they are: there is nothing to end.
      if (raw.destroyed) return;
      const stack = new DisposableStack();
      const end = () => stack.dispose();
      raw.once('close', end);
      raw.on('error', end);
      stack.defer(() => unread.forget(raw));
      for (const [name, value] of Object.entries(reply.getHeaders()))
        if (value !== undefined) raw.setHeader(name, value);
      raw.writeHead(200, {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      });
      const write = (text: string) => {
        if (raw.destroyed || raw.writableEnded) return;
        if (unread.isTooMuch(raw)) raw.destroy();
        else raw.write(text);
        unread.look(raw);
      };
      const last = request.headers['last-event-id'];
      const missed = typeof last === 'string' ? events.since(last) : undefined;
      write(missedText(missed, wanted, caller.role));
      stack.use(
        events.listen((event) => {
          if (wanted.has(event.topic)) write(textOf(event, caller.role));
        }),
      );
      const alive = setInterval(() => write(': alive\n\n'), ALIVE_MS);
      stack.defer(() => clearInterval(alive));
      const checking = setInterval(() => {
        unread.look(raw);
        if (tokens.isGood(caller, Date.now())) return;
        // Who does not read would keep what has ended open.
        if (raw.writableEnded) raw.destroy();
        else raw.end();
      }, CHECK_MS);
      stack.defer(() => clearInterval(checking));
    },
  );
}

type Listener = Pick<ServerResponse, 'writableLength' | 'destroyed'>;

/** What listeners have not read yet, each and all together. Exported for its tests. */
export class Unread {
  readonly #most: number;
  readonly #mostOfAll: number;
  readonly #bytes = new Map<Listener, number>();
  #sum = 0;

  constructor(mostBytes: number, mostBytesOfAll: number) {
    this.#most = mostBytes;
    this.#mostOfAll = mostBytesOfAll;
  }

  /** Notes what one has not read. */
  look(listener: Listener): void {
    if (listener.destroyed) {
      this.forget(listener);
      return;
    }
    this.#sum += listener.writableLength - (this.#bytes.get(listener) ?? 0);
    this.#bytes.set(listener, listener.writableLength);
  }

  forget(listener: Listener): void {
    this.#sum -= this.#bytes.get(listener) ?? 0;
    this.#bytes.delete(listener);
  }

  /** Whether one is to go that gets more than it reads. */
  isTooMuch({ writableLength }: Listener): boolean {
    const share = this.#sum > this.#mostOfAll ? this.#mostOfAll / this.#bytes.size : this.#most;
    return writableLength > Math.min(share, this.#most);
  }
}

function missedText(
  missed: readonly ApiEvent[] | undefined,
  wanted: ReadonlySet<string>,
  role: ApiRole,
): string {
  const text = missed
    ?.filter(({ topic }) => wanted.has(topic))
    .map((event) => textOf(event, role))
    .join('');
  if (text === undefined || text.length > MAX_MISSED_BYTES) return 'event: reset\ndata: {}\n\n';
  // With the first bytes go the headers, for which the listener waits.
  return text === '' ? ': alive\n\n' : text;
}

const textOf = (event: ApiEvent, role: ApiRole): string =>
  `id: ${event.id}\nevent: ${event.topic}\ndata: ${shownText(event, role)}\n\n`;

function shownText({ topic, text }: ApiEvent, role: ApiRole): string {
  // Most are as they are for everybody, and are not read to see so.
  if (topic !== 'job' || mayDo(role, 'operator') || !text.includes('"kind":"get"')) return text;
  return JSON.stringify(shownJob(role, JSON.parse(text)));
}
