import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { z } from 'zod';

/** Whether a parser takes a text: what a field may be. */
export const accepts =
  (parse: (text: string) => unknown) =>
  (text: string): boolean => {
    try {
      parse(text);
      return true;
    } catch {
      return false;
    }
  };

const NO_SIZE = 'is not a size; write it as 10GiB, 500MB or a number of bytes';

/** `10GiB`, `500 MB` or a number of bytes. */
export const byteSize = z
  .union([z.int().min(0), z.string()], { error: NO_SIZE })
  .transform((value, context) => {
    if (typeof value === 'number') return value;
    const match = /^\s*([0-9]+(?:\.[0-9]+)?)\s*([kMGT]i?)?B?\s*$/.exec(value);
    const [, number = '', unit = ''] = match ?? [];
    const power = ['', 'k', 'M', 'G', 'T'].indexOf(unit.charAt(0));
    const bytes = Math.round(Number(number) * (unit.endsWith('i') ? 1024 : 1000) ** power);
    if (match === null || !Number.isSafeInteger(bytes)) {
      context.addIssue({
        code: 'custom',
        message: NO_SIZE,
      });
      return z.NEVER;
    }
    return bytes;
  });

export const port = z.int().min(0).max(65_535);

export const absolutePath = z
  .string()
  .refine(isAbsolute, 'is not an absolute path; write it from the root on, as /var/lib/drakkar');

export const ipAddress = z
  .string()
  .refine(
    (address) => isIP(address) !== 0 || address === 'localhost',
    'is not an IP address; write one as 127.0.0.1, or 0.0.0.0 for all of this host',
  );

/** Longer paths of sockets are refused by the kernel. Source: unix(7), `sun_path`. */
export const MAX_SOCKET_BYTES = 107;
export const fitsSocket = (path: string): boolean => Buffer.byteLength(path) <= MAX_SOCKET_BYTES;
