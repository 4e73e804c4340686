import fc from 'fast-check';
import { expect, test } from 'vitest';
import { startKeyOf } from '../../../src/snapshots/index.ts';

const words = fc.option(fc.array(fc.string(), { maxLength: 4 }), { nil: undefined });

test('two starts have one key just where they run the same', () => {
  fc.assert(
    fc.property(words, words, words, words, (entrypoint, command, otherEntrypoint, otherCommand) => {
      const isSame =
        JSON.stringify([entrypoint ?? null, command ?? null]) ===
        JSON.stringify([otherEntrypoint ?? null, otherCommand ?? null]);
      const keys = [
        startKeyOf({ entrypoint, command }),
        startKeyOf({ entrypoint: otherEntrypoint, command: otherCommand }),
      ];
      expect(keys[0] === keys[1]).toBe(isSame);
    }),
  );
});

test('a start of which nothing is said is the image’s own', () => {
  expect(startKeyOf()).toBe(startKeyOf({ entrypoint: undefined }));
  expect(startKeyOf({ command: [] })).not.toBe(startKeyOf());
});
