import { diff } from 'node:util';

/** Lines around a change that are shown as well. */
const CONTEXT = 2;

/** What changes in a file, as `diff -u` would say it, without line numbers. */
export function describeDiff(path: string, before: string | undefined, after: string): string {
  const rows = diff((before ?? '').split('\n'), after.split('\n')).map(([operation, line]) => ({
    sign: operation === 0 ? ' ' : operation === 1 ? '-' : '+',
    line,
  }));
  const near = rows.map((_, at) =>
    rows.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some(({ sign }) => sign !== ' '),
  );
  const shown = rows.flatMap(({ sign, line }, at) =>
    near[at] === true ? [`${near[at - 1] === false ? '…\n' : ''}${sign}${line}`] : [],
  );
  return [`--- ${before === undefined ? '(none)' : path}`, `+++ ${path}`, ...shown].join('\n');
}
