import { createHash } from 'node:crypto';
import { compareTrees, type Tree, tarArchive } from '@drakkar/lab';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { itemOf, ModelImage, type Operation } from './model.ts';
import { CREATED_SECONDS, mergeLayers } from './support.ts';

// Few names, so that layers meet.
const name = fc.constantFrom('a', 'b', 'c');
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
const look = fc.nat(60);
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('file' as const), path, look }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('directory' as const), path, look }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('fifo' as const, 'symlink' as const), path, look }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('link' as const), path, to: path, look }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('whiteout' as const), path }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('opaque' as const), path }) },
);
const stack = fc.array(fc.array(operation, { maxLength: 14 }), { minLength: 1, maxLength: 6 });

/** The model keeps contents, the stack their digests. */
function withDigests(tree: Tree): Tree {
  return new Map(
    [...tree].map(([at, entry]) => [
      at,
      {
        ...entry,
        sha256:
          entry.sha256 === undefined ? undefined : createHash('sha256').update(entry.sha256).digest('hex'),
      },
    ]),
  );
}

describe('a stack of layers', () => {
  it('is the tree that the definition of an overlay gives', async () => {
    await fc.assert(
      fc.asyncProperty(stack, async (layers) => {
        const model = new ModelImage(CREATED_SECONDS);
        const archives = layers.map((operations) => {
          model.startLayer();
          return tarArchive(operations.filter((each) => model.add(each)).map(itemOf));
        });
        expect(compareTrees(await mergeLayers(archives), withDigests(model.tree()))).toEqual([]);
      }),
      { numRuns: 3000 },
    );
  });
});
