import { isDrakkarError } from '@drakkar/protocol';

/** The registry has not said no: it has said nothing. */
export function isAway(error: unknown): boolean {
  return isDrakkarError(error, 'unavailable') || isDrakkarError(error, 'timeout');
}
