import { DrakkarError } from '@drakkar/errors';

/** A whole number within bounds. @throws `invalid_argument` */
export function parseNumber(text: string, option: string, [least, most]: readonly [number, number?]): number {
  const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= (most ?? value)) return value;
  throw new DrakkarError(
    'invalid_argument',
    `${option} is a number from ${least} ${most === undefined ? 'on' : `to ${most}`}, not ${JSON.stringify(text)}`,
  );
}
