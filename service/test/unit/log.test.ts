import { DrakkarError } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { errorInLog } from '../../src/index.ts';

test('what may be expected is logged with code and message, what nobody has foreseen with its stack', () => {
  const away = new DrakkarError('unavailable', 'the registry is away', { hint: 'wait' });
  expect(errorInLog(away)).toEqual({ code: 'unavailable', message: 'the registry is away', hint: 'wait' });
  const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
  expect(errorInLog(reset)).toEqual({ code: 'ECONNRESET', message: 'read ECONNRESET' });
  const mistakes = [
    new DrakkarError('internal', 'x'),
    new TypeError('x'),
    Object.assign(new Error('x'), { code: 'ERR_INVALID_ARG_TYPE' }),
  ];
  for (const mistake of mistakes)
    expect(errorInLog(mistake)).toMatchObject({ message: 'x', stack: mistake.stack });
  expect(errorInLog('words')).toBe('words');
});
