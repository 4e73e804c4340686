import { DrakkarError } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { createLog, Tracing } from '../../src/index.ts';

function logged(write: (log: ReturnType<typeof createLog>) => void): Record<string, unknown> {
  const lines: string[] = [];
  write(createLog('info', { write: (line: string) => void lines.push(line) }));
  return JSON.parse(lines.join(''));
}

test('what may be expected is logged with code and message, what nobody has foreseen with its stack', () => {
  const errorInLog = (error: unknown) => logged((log) => log.warn({ error }, 'it failed')).error;
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

test('what is said while something is done for a trace says for which, and nothing else does', async () => {
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const span = new Tracing().begin('pull', { traceparent });
  const { traceId, spanId } = span.context;
  expect(traceId).toBe('4bf92f3577b34da6a3ce929d0e0e4736');
  expect(spanId).not.toBe('00f067aa0ba902b7');
  const inside = logged((log) => span.run(() => log.info({ image: 'debian' }, 'pulled')));
  expect(inside).toMatchObject({ traceId, spanId, image: 'debian', msg: 'pulled' });
  expect(logged((log) => log.info('idle'))).not.toHaveProperty('traceId');
});
