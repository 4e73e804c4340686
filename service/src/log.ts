import { errnoOf, isDrakkarError } from '@drakkar/protocol';
import { type DestinationStream, type LevelWithSilent, type Logger, pino } from 'pino';
import { traceInLog } from './tracing/span.ts';

const SYSTEM_ERROR = /^E[A-Z0-9]+$/;

/** An error as logs show it: what may be expected in a line, what nobody has foreseen with its stack. */
export function errorInLog(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { message, stack } = error;
  const errno = errnoOf(error);
  if (isDrakkarError(error)) {
    const { code, hint } = error;
    return code === 'internal' ? { code, message, stack } : { code, message, hint };
  }
  return errno !== undefined && SYSTEM_ERROR.test(errno)
    ? { code: errno, message }
    : { code: errno ?? error.name, message, stack };
}

/** A log of a long-running process on stderr, in JSON lines: what is done for a trace says for which. */
export function createLog(level: LevelWithSilent, destination = logDestination()): Logger {
  return pino(
    { level, base: null, errorKey: 'error', serializers: { error: errorInLog }, mixin: traceInLog },
    destination,
  );
}

/** Stderr. Where nothing can be written, on a full disk say, nothing is said, and the work goes on. */
function logDestination(): DestinationStream {
  const destination = pino.destination({ fd: 2, sync: true });
  destination.on('error', () => {});
  return destination;
}
