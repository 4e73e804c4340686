/**
 * Errors with stable codes. A package of its own, without dependencies, so that a command that only talks to the daemon
 * starts at once.
 *
 * @example
 * ```ts
 * throw new DrakkarError('not_found', 'there is no snapshot debian:12 here', { hint: 'drakkar snapshot ls' });
 * ```
 *
 * @packageDocumentation
 */
export * from './errors.ts';
