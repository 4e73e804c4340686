import { z } from 'zod';

/** What callers may send: the zod side of the request documents of `@drakkar/client`. */
const image = {
  image: z.string().min(1).max(1024),
  platform: z.string().max(100).optional(),
};

export const pullRequestSchema = z.strictObject(image);

export const buildRequestSchema = z.strictObject({
  ...image,
  push: z.boolean().default(false),
  rebuild: z.boolean().default(false),
});

export const startRequestSchema = z.strictObject({ ...image, ownerPid: z.int().min(1).optional() });
