import { z } from 'zod';

/** What callers may send: the zod side of the request documents of `@drakkar/client`. */
const image = {
  image: z.string().min(1).max(1024),
  platform: z.string().max(100).optional(),
};

export const pullRequestSchema = z.strictObject({ ...image, layers: z.boolean().optional() });

const offset = z.int().min(0);

export const getRequestSchema = z
  .strictObject({
    url: z.string().min(1).max(8192),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'is not 64 lower-case hex digits')
      .optional(),
    startBytes: offset.optional(),
    endBytes: offset.optional(),
  })
  .refine(
    ({ startBytes = 0, endBytes }) => endBytes === undefined || endBytes > startBytes,
    'the range is empty',
  );

export const contentQuerySchema = z
  .object({ start: z.coerce.number().pipe(offset), end: z.coerce.number().pipe(offset) })
  .refine(({ start, end }) => start <= end, 'the range ends before it begins');

export const buildRequestSchema = z.strictObject({
  ...image,
  push: z.boolean().default(false),
  rebuild: z.boolean().default(false),
});

const words = z
  .array(z.string().max(128 * 1024))
  .max(4096)
  .optional();

export const startRequestSchema = z.strictObject({
  ...image,
  entrypoint: words,
  command: words,
  ownerPid: z.int().min(1).optional(),
});
