import { digestOf } from '@drakkar/protocol';
import { z } from 'zod';
import type { HookKind } from './kinds.ts';
import { type DeliveryHeaders, events, optionalText, text } from './shapes/shape.ts';

/** What tells one delivery from the others of its hook: the sender's own ids, or else when it was and what it was about. */
type Marks = readonly (string | number | null | undefined)[];

const MAX_ID = 200;
/** So that an id can be part of a key. */
const PLAIN = /^[!-~]+$/;

/**
 * The same for a delivery that is made once more, and another one for each other delivery. It is the sender's word, and no signature has
 * it where it is a header: it keeps out what comes twice, and not who knows how to make a delivery.
 * At most 200 printable characters. `null` where the sender gives neither an id nor a time; it throws for nothing.
 */
export function deliveryIdOf(kind: HookKind, body: unknown, headers: DeliveryHeaders): string | null {
  const marks = MARKS[kind](body, headers);
  if (marks === null) return null;
  const [id] = marks;
  if (marks.length === 1 && typeof id === 'string' && id.length <= MAX_ID && PLAIN.test(id)) return id;
  return digestOf(JSON.stringify(marks));
}

const id = text.min(1);
const eventSchema = z.object({ id });
const eventsSchema = events.min(1).pipe(z.array(eventSchema));
const envelopeSchema = z.object({ events: eventsSchema });
const cloudEventSchema = z.object({ specversion: text, id });

/** A second is as exact as it gets, so what was done to what counts as well. */
const harborSchema = z.object({
  type: text,
  occur_at: z.number(),
  event_data: z.object({
    resources: events.pipe(z.array(z.object({ digest: optionalText, tag: optionalText }))),
    repository: z.object({ repo_full_name: text }),
  }),
});
const pushDataSchema = z.object({
  push_data: z.object({ pushed_at: z.union([z.number(), id]), tag: optionalText, digest: optionalText }),
  repository: z.object({ repo_name: optionalText, repo_full_name: optionalText }),
});

const MARKS: Readonly<Record<HookKind, (body: unknown, headers: DeliveryHeaders) => Marks | null>> = {
  distribution: (body) => idsOf(envelopeSchema.safeParse(body).data?.events),
  harbor: (body) => idsOf([cloudEventSchema.safeParse(body).data]) ?? marksOfHarbor(body),
  'docker-hub': marksOfPush,
  ghcr: (_body, headers) => marksOfHeader(headers, 'x-github-delivery'),
  'acr-azure': (body) =>
    idsOf(Array.isArray(body) ? eventsSchema.safeParse(body).data : [eventSchema.safeParse(body).data]),
  'acr-aliyun': marksOfPush,
  generic: (_body, headers) => marksOfHeader(headers, 'idempotency-key'),
};

function idsOf(items: readonly (z.output<typeof eventSchema> | undefined)[] | undefined): Marks | null {
  if (items === undefined || items.includes(undefined)) return null;
  return items.map((item) => item?.id);
}

function marksOfHeader(headers: DeliveryHeaders, name: string): Marks | null {
  const value = headers[name];
  return typeof value === 'string' && value !== '' ? [value] : null;
}

function marksOfHarbor(body: unknown): Marks | null {
  const { data } = harborSchema.safeParse(body);
  if (data === undefined) return null;
  const { resources, repository } = data.event_data;
  const marks = resources.flatMap(({ tag, digest }) => [tag, digest]);
  return [data.type, data.occur_at, repository.repo_full_name, ...marks];
}

function marksOfPush(body: unknown): Marks | null {
  const { data } = pushDataSchema.safeParse(body);
  if (data === undefined) return null;
  const { push_data: push, repository } = data;
  return [push.pushed_at, repository.repo_name ?? repository.repo_full_name, push.tag, push.digest];
}
