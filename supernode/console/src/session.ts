import { signal } from '@preact/signals';
import type { WhoAmI } from './documents.ts';

const KEY = 'drakkar.token';

/** Whether one may look: `closed` needs a token, `asked` may look and wants to do more. */
export type Access = 'unknown' | 'open' | 'closed' | 'asked';

export const access = signal<Access>('unknown');
/** It stays in this tab, and ends with it. */
export const token = signal<string | null>(sessionStorage.getItem(KEY));
/** Who one is, as far as the supernode has said. */
export const caller = signal<WhoAmI | null>(null);
/** Why one has to sign in again. */
export const signedOutBecause = signal<string | null>(null);

export function signIn(text: string): void {
  sessionStorage.setItem(KEY, text);
  token.value = text;
  signedOutBecause.value = null;
  access.value = 'unknown';
}

export function signOut(because: string | null = null): void {
  sessionStorage.removeItem(KEY);
  signedOutBecause.value = because;
  token.value = null;
  access.value = 'unknown';
}

/** Another one may do more. */
export function askForToken(): void {
  access.value = 'asked';
}

/** The supernode does not take the token, or takes nobody without one. */
export function refuse(used: string | null): void {
  if (used !== token.value) return;
  if (used !== null) sessionStorage.removeItem(KEY);
  signedOutBecause.value = used === null ? null : 'The supernode does not know this token, or not any more.';
  token.value = null;
  access.value = 'closed';
}
