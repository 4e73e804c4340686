import type { ApiRole, WhoAmI } from '../documents.ts';

const ROLES: readonly ApiRole[] = ['viewer', 'operator', 'admin'];

/** Something that not everybody may do, as `make jobs`. */
export interface Need {
  readonly role: ApiRole;
  readonly what: string;
}

/** Who is not known yet may do nothing but look. */
export const mayDo = (caller: Pick<WhoAmI, 'role'> | null, needed: ApiRole): boolean =>
  ROLES.indexOf(caller?.role ?? 'viewer') >= ROLES.indexOf(needed);

/** What one may not do, in words; nothing where one may all of it. */
export function whyNot(caller: WhoAmI | null, needs: readonly Need[]): string | null {
  const missing = needs.filter(({ role }) => !mayDo(caller, role));
  if (caller === null || missing.length === 0) return null;
  const words = missing.map(({ role, what }) => `it takes an ${role} to ${what}`).join(', and ');
  return `You are ${caller.name}, ${withArticle(caller.role)}: ${words}.`;
}

const withArticle = (role: ApiRole): string => (role === 'viewer' ? `a ${role}` : `an ${role}`);
