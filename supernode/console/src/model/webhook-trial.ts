import type { TriedPolicy } from '../documents.ts';

/** What a person has written as a delivery; nothing stands for the example. @throws {SyntaxError} where it is no JSON */
export function trialRequest(text: string): { readonly delivery?: unknown } {
  return text.trim() === '' ? {} : { delivery: JSON.parse(text) };
}

/** What a policy would do, in words. */
export function doesOf({ name, does }: TriedPolicy): string {
  if (does.length === 0) return `${name}: nothing, for it is not for what is pushed`;
  const words = does.map((each) => (each === 'build' ? 'builds its snapshot' : 'brings it to hosts'));
  return `${name}: ${words.join(', ')}`;
}
