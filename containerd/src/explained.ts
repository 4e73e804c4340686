import { DrakkarError, type ErrorCode } from '@drakkar/errors';
import { type ServiceError, status } from '@grpc/grpc-js';

/** What containerd answers with, where a caller can do something about it. */
const CODES: Readonly<Partial<Record<status, ErrorCode>>> = {
  [status.INVALID_ARGUMENT]: 'invalid_argument',
  [status.NOT_FOUND]: 'not_found',
  [status.ALREADY_EXISTS]: 'already_exists',
  [status.FAILED_PRECONDITION]: 'busy',
  [status.PERMISSION_DENIED]: 'forbidden',
  [status.UNAVAILABLE]: 'unavailable',
  [status.RESOURCE_EXHAUSTED]: 'no_space',
  [status.UNIMPLEMENTED]: 'unsupported',
  [status.DEADLINE_EXCEEDED]: 'timeout',
  [status.CANCELLED]: 'cancelled',
};

/** @throws what containerd says, as a {@link DrakkarError} */
export async function explained<Answer>(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof DrakkarError || typeof (error as ServiceError).code !== 'number') throw error;
    const { code, details } = error as ServiceError;
    const hint = code === status.UNAVAILABLE ? 'start containerd, or name its socket' : undefined;
    throw new DrakkarError(CODES[code] ?? 'internal', `containerd: ${details}`, { hint, cause: error });
  }
}
