import { DrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import type { Pushed } from '../notification.ts';

/** Names in lower case, as `node:http` has them. */
export type DeliveryHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface DeliveryContext {
  /** The registry's name for those that pull from it. It stands above what the sender calls itself: behind a proxy that is another name. */
  readonly registry: string | null;
}

/**
 * Reads what one kind of sender says. An event that is not a push, or names nothing that can be fetched, is left out.
 *
 * @throws `invalid_argument` for what is not of the sender's form
 */
export type Shape = (body: unknown, headers: DeliveryHeaders, context: DeliveryContext) => Pushed[];

/** The hook's registry, or else the one that the sender has called itself. */
export function registryOf(context: DeliveryContext, host: string | null | undefined): string | null {
  return context.registry ?? host?.toLowerCase() ?? null;
}

/** Events of one delivery, at most. */
export const MAX_EVENTS = 100;

/** The longest that is looked at: a repository has 255 characters at most, and a URL adds its host and a digest. */
const MAX_TEXT = 1024;

export const text = z.string().max(MAX_TEXT);
/** What a sender may leave out, and some say that it is `null` instead. */
export const optionalText = text.nullish();
/** Each is looked at by itself, so that a bad one does no harm to the others. */
export const events = z.array(z.unknown()).max(MAX_EVENTS, `has more than ${MAX_EVENTS} events`);

/** @throws `invalid_argument` */
export function readAs<Value>(schema: z.ZodType<Value>, body: unknown, sender: string): Value {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? 'it' : issue.path.map(String).join('.');
  throw new DrakkarError(
    'invalid_argument',
    `this is no notification of ${sender}: ${where.slice(0, 100)}: ${(issue?.message ?? 'is wrong').slice(0, 300)}`,
    { hint: 'check that the kind of the hook is the kind of the registry that calls it' },
  );
}

/** Those that are what they should be. */
export function readEach<Value>(schema: z.ZodType<Value>, items: readonly unknown[]): Value[] {
  return items.flatMap((item) => {
    const result = schema.safeParse(item);
    return result.success ? [result.data] : [];
  });
}

export const isKnown = <Value>(value: Value | undefined): value is Value => value !== undefined;
