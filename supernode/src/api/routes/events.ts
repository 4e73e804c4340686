import { z } from 'zod';
import { EVENT_TOPICS } from '../events.ts';
import type { ApiModules } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';

/** What nobody reads is not kept: who comes back is told. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
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
      for (const [name, value] of Object.entries(reply.getHeaders()))
        if (value !== undefined) raw.setHeader(name, value);
      raw.writeHead(200, {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      });
      const write = (text: string) => {
        if (raw.writableLength > MAX_UNREAD_BYTES) raw.destroy();
        else raw.write(text);
      };
      const say = (id: string, topic: string, data: unknown) =>
        write(`id: ${id}\nevent: ${topic}\ndata: ${JSON.stringify(data)}\n\n`);
      const last = request.headers['last-event-id'];
      const missed = typeof last === 'string' ? events.since(last) : undefined;
      if (missed === undefined) write('event: reset\ndata: {}\n\n');
      for (const { id, topic, data } of missed ?? []) if (wanted.has(topic)) say(id, topic, data);
      const listening = events.listen(({ id, topic, data }) => {
        if (wanted.has(topic)) say(id, topic, data);
      });
      const alive = setInterval(() => write(': alive\n\n'), ALIVE_MS);
      const checking = setInterval(() => {
        if (!tokens.isGood(caller, Date.now())) raw.end();
      }, CHECK_MS);
      raw.once('close', () => {
        clearInterval(alive);
        clearInterval(checking);
        listening[Symbol.dispose]();
      });
    },
  );
}
