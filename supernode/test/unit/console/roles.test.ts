import { expect, test } from 'vitest';
import { mayDo, whyNot } from '../../../console/src/model/roles.ts';

const caller = { name: 'ann', token: null, expiresAtMs: null };
const needs = [
  { role: 'operator', what: 'try it' },
  { role: 'admin', what: 'delete it' },
] as const;

test('each role may what those before it may', () => {
  expect(mayDo({ role: 'operator' }, 'viewer')).toBe(true);
  expect(mayDo({ role: 'operator' }, 'operator')).toBe(true);
  expect(mayDo({ role: 'operator' }, 'admin')).toBe(false);
  expect(mayDo(null, 'operator')).toBe(false);
});

test('who may not is told what it takes', () => {
  expect(whyNot({ ...caller, role: 'admin' }, needs)).toBeNull();
  expect(whyNot({ ...caller, role: 'operator' }, needs)).toBe(
    'You are ann, an operator: it takes an admin to delete it.',
  );
  expect(whyNot({ ...caller, role: 'viewer' }, needs)).toBe(
    'You are ann, a viewer: it takes an operator to try it, and it takes an admin to delete it.',
  );
  expect(whyNot(null, needs)).toBeNull();
});
