import { DrakkarError } from '@drakkar/errors';

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `30min`, `12h` or `7d` in milliseconds: as ages are shown. @throws `invalid_argument` */
export function parseAge(text: string): number {
  const [, count, unit = ''] = /^([0-9]{1,9})(s|min|h|d)$/.exec(text.replace(/\s/g, '')) ?? [];
  const unitMs = UNITS_MS[unit];
  if (count === undefined || unitMs === undefined) {
    throw new DrakkarError('invalid_argument', `${JSON.stringify(text)} is not an age`, {
      hint: 'write it as 90s, 30min, 12h or 7d',
    });
  }
  return Number(count) * unitMs;
}
