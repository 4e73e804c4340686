import { DrakkarError } from '@drakkar/errors';

/** Bytes of a file. */
export interface WantedRange {
  readonly startBytes: number;
  /** First byte not wanted any more; the end when absent. */
  readonly endBytes: number | undefined;
}

/** `START-END` or `START-`, both included, as in HTTP. Pure. @throws `invalid_argument` */
export function parseRange(text: string): WantedRange {
  const [, first, last] = /^(\d{1,15})-(\d{1,15})?$/.exec(text) ?? [];
  const startBytes = Number(first);
  const endBytes = last === undefined ? undefined : Number(last) + 1;
  if (first !== undefined && (endBytes === undefined || endBytes > startBytes))
    return { startBytes, endBytes };
  throw new DrakkarError('invalid_argument', `--range ${JSON.stringify(text)} is no range of bytes`, {
    hint: 'write it as START-END, both included, or as START-',
  });
}
