import { describe, expect, test } from 'vitest';
import { whyInvalid } from '../../../src/controller/why-invalid.ts';
import { imageSnapshotSpecSchema } from '../../../src/resources/index.ts';

const why = (spec: unknown) => {
  const { error } = imageSnapshotSpecSchema.safeParse(spec);
  return error === undefined ? undefined : whyInvalid(error, spec);
};

describe('why a spec is invalid', () => {
  test('is said in a line, with where and what', () => {
    expect(why({ images: ['a'], platforms: ['linux/amd64', 'windows'] })).toBe(
      'spec.platforms[1]: "windows": is no platform',
    );
    expect(why({})).toMatch(/^spec\.images: nothing: .+$/);
    expect(why('none')).toMatch(/^spec: "none": .+$/);
  });

  test('is said of the first thing, and that there are others', () => {
    expect(why({ images: ['a'], platforms: ['x', 'y', 'z'] })).toBe(
      'spec.platforms[0]: "x": is no platform; and 2 more',
    );
  });

  test('is bounded', () => {
    expect(why({ images: ['a'], platforms: ['x\n'.repeat(10_000)] })).toMatch(/^.{1,700}$/);
  });
});
