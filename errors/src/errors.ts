/**
 * Stable error codes. Scripts, logs, metrics and exit codes depend on them: add, never rename.
 *
 * - `invalid_argument` the caller's input is malformed or contradicts itself
 * - `invalid_content`  bytes from a registry, peer or disk are not what they claim to be
 * - `limit_exceeded`   a configured bound would be passed
 * - `not_found`        the thing asked for is in no place that was asked
 * - `no_platform`      the image is there, but not for the platform asked for
 * - `unauthorized`     a credential is missing or was refused
 * - `forbidden`        known to the other side, not allowed by it or by our configuration
 * - `unavailable`      the other side did not answer, or answered that it cannot now
 * - `timeout`          a deadline passed
 * - `no_space`         the quota or the disk is full
 * - `busy`             in use; try again when it is not
 * - `already_exists`   the name is taken by something else
 * - `unsupported`      this kernel, registry or build cannot do it
 * - `cancelled`        somebody who may do so ended it
 * - `internal`         a defect of ours
 */
export type ErrorCode =
  | 'invalid_argument'
  | 'invalid_content'
  | 'limit_exceeded'
  | 'not_found'
  | 'no_platform'
  | 'unauthorized'
  | 'forbidden'
  | 'unavailable'
  | 'timeout'
  | 'no_space'
  | 'busy'
  | 'already_exists'
  | 'unsupported'
  | 'cancelled'
  | 'internal';

export const ERROR_CODES: readonly ErrorCode[] = [
  'invalid_argument',
  'invalid_content',
  'limit_exceeded',
  'not_found',
  'no_platform',
  'unauthorized',
  'forbidden',
  'unavailable',
  'timeout',
  'no_space',
  'busy',
  'already_exists',
  'unsupported',
  'cancelled',
  'internal',
];

export interface DrakkarErrorOptions {
  /** What a person can do about it, as a sentence. */
  readonly hint?: string | undefined;
  /** Machine-readable circumstances: image, layer, entry, status, … */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  readonly cause?: unknown;
}

/** The JSON form in which an error crosses a process boundary. */
export interface ErrorDocument {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** Every error that leaves a part of Drakkar: a stable code, what was being done, and what to do about it. */
export class DrakkarError extends Error {
  override readonly name = 'DrakkarError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: DrakkarErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }

  toJSON(): ErrorDocument {
    return { code: this.code, message: this.message, hint: this.hint, details: this.details };
  }

  static fromJSON(document: ErrorDocument): DrakkarError {
    const code = ERROR_CODES.includes(document.code) ? document.code : 'internal';
    return new DrakkarError(code, String(document.message), {
      hint: document.hint,
      details: document.details,
    });
  }
}

export function isDrakkarError(value: unknown, code?: ErrorCode): value is DrakkarError {
  return value instanceof DrakkarError && (code === undefined || value.code === code);
}

/** Any thrown value as a {@link DrakkarError}; what is not one already becomes `fallback`. */
export function toDrakkarError(value: unknown, fallback: ErrorCode = 'internal'): DrakkarError {
  if (value instanceof DrakkarError) return value;
  const systemCode = errnoOf(value);
  const message = value instanceof Error ? value.message : String(value);
  if (value instanceof Error && value.name === 'AbortError') {
    return new DrakkarError('cancelled', message, { cause: value });
  }
  if (systemCode === 'ENOSPC' || systemCode === 'EDQUOT') {
    return new DrakkarError('no_space', `the disk is full: ${message}`, {
      hint: 'free space on the disk that holds the state directory, or lower the quota',
      cause: value,
    });
  }
  if (systemCode === 'EROFS' || systemCode === 'EACCES' || systemCode === 'EPERM') {
    return new DrakkarError('forbidden', message, {
      hint: 'check that the state directory is writable by the user that runs Drakkar',
      cause: value,
    });
  }
  return new DrakkarError(fallback, message, { cause: value });
}

/** The system's error name (`ENOENT`, …) of a thrown value, if it has one. */
export function errnoOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('code' in value)) return undefined;
  return typeof value.code === 'string' ? value.code : undefined;
}
