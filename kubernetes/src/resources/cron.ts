const MONTHS =
  '[Jj][Aa][Nn]|[Ff][Ee][Bb]|[Mm][Aa][RrYy]|[Aa][Pp][Rr]|[Jj][Uu][NnLl]|[Aa][Uu][Gg]|[Ss][Ee][Pp]|[Oo][Cc][Tt]|[Nn][Oo][Vv]|[Dd][Ee][Cc]';
const DAYS = '[Ss][Uu][Nn]|[Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt]';

/** All of them, one, or a range, in steps; several of these. */
const field = (value: string): string => {
  const part = `([*]|(${value})(-(${value}))?)(/[1-9][0-9]?)?`;
  return `${part}(,${part})*`;
};

/** A cron schedule of five fields. Source: crontab(5); `L` is the last day of a month. */
export const CRON = `^${[
  field('[0-5]?[0-9]'),
  field('2[0-3]|[01]?[0-9]'),
  field('3[01]|[12][0-9]|0?[1-9]|L'),
  field(`1[0-2]|0?[1-9]|${MONTHS}`),
  field(`[0-7]|${DAYS}`),
].join(' ')}$`;
