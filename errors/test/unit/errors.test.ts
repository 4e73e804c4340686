import { DrakkarError, isDrakkarError, toDrakkarError } from '@drakkar/errors';
import { expect, test } from 'vitest';

test('an error crosses a process boundary with code, words and what to do', () => {
  const error = new DrakkarError('no_space', 'full', { hint: 'free some', details: { bytes: 1 } });
  const back = DrakkarError.fromJSON(JSON.parse(JSON.stringify(error)));
  expect(back).toMatchObject({ code: 'no_space', message: 'full', hint: 'free some', details: { bytes: 1 } });
  expect(isDrakkarError(back, 'no_space')).toBe(true);
  expect(isDrakkarError(back, 'busy')).toBe(false);
});

test('a code that this release does not know is an internal one', () => {
  expect(DrakkarError.fromJSON({ code: 'from_the_future' as 'internal', message: 'x' }).code).toBe(
    'internal',
  );
});

test.each([
  ['ENOSPC', 'no_space'],
  ['EROFS', 'forbidden'],
  ['EACCES', 'forbidden'],
  ['EIO', 'internal'],
])('the system’s %s is %s', (system, code) => {
  expect(toDrakkarError(Object.assign(new Error('x'), { code: system })).code).toBe(code);
});
