import type { z } from 'zod';

const MAX_VALUE = 100;
const MAX_MESSAGE = 500;

/** In a line: the first thing that is wrong with a spec, where, and what stands there. */
export function whyInvalid({ issues: [first, ...more] }: z.ZodError, spec: unknown): string {
  if (first === undefined) return 'it is invalid';
  const where = first.path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  const value = JSON.stringify(valueAt(spec, first.path)) ?? 'nothing';
  const also = more.length === 0 ? '' : `; and ${more.length} more`;
  const message = short(first.message.replaceAll(/\s+/g, ' '), MAX_MESSAGE);
  return `spec${short(where, MAX_VALUE)}: ${short(value, MAX_VALUE)}: ${message}${also}`;
}

const valueAt = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (within, key) => (typeof within === 'object' && within !== null ? Reflect.get(within, key) : undefined),
    value,
  );

const short = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most)}…` : text);
