/**
 * All that a supernode must not forget, in one file, and back.
 *
 * - `back-up` what is copied, while the supernode runs
 * - `archive` the file
 * - `restore` what is put in the place of a state
 * - `swap`    how that is done whole or not at all
 */
export { type BackedUp, backUp } from './back-up.ts';
export { restore } from './restore.ts';
export { requireRestored } from './swap.ts';
