import { type TarItem, tarArchive } from '@drakkar/lab';
import { isDrakkarError } from '@drakkar/protocol';
import { describe, expect, it } from 'vitest';
import type { LayerLimits } from '../../../src/layers/index.ts';
import { CREATED_SECONDS, mergeLayers } from './support.ts';

const merge = (...layers: TarItem[][]) => mergeLayers(layers.map((items) => tarArchive(items)));

describe('a hard link to a file of a lower layer', () => {
  it('makes one file of all its names, with the link’s attributes', async () => {
    const tree = await merge(
      [
        { name: 'd/a', data: 'x', mode: 0o600 },
        { name: 'b', type: '1', linkName: 'd/a', mode: 0o600 },
      ],
      [{ name: 'c', type: '1', linkName: 'd/a', mode: 0o755, uid: 5 }],
    );
    for (const name of ['b', 'c', 'd/a'])
      expect(tree.get(name)).toMatchObject({ linkGroup: 'b', mode: 0o755, uid: 5 });
  });

  it('finds it through links of any layer, and not behind what hides it', async () => {
    const lower = [
      { name: 'd/a', data: 'x' },
      { name: 'l', type: '2', linkName: 'd' },
    ];
    expect((await merge(lower, [{ name: 'c', type: '1', linkName: 'l/a' }])).get('c')?.linkGroup).toBe('c');
    await expect(
      merge(lower, [{ name: 'd/.wh..wh..opq' }, { name: 'c', type: '1', linkName: 'd/a' }]),
    ).rejects.toThrow(/layer 2, entry "c": it is a hard link to "d\/a"/);
  });
});

describe('times', () => {
  it('of the root and of directories that no entry names are the image’s', async () => {
    const tree = await merge([{ name: './', type: '5', mode: 0o700 }, { name: 'd/f' }]);
    for (const path of ['.', 'd'])
      expect(tree.get(path)).toMatchObject({
        mode: 0o755,
        mtimeNanoseconds: BigInt(CREATED_SECONDS) * 1_000_000_000n,
      });
  });
});

describe('limits', () => {
  const chain = Array.from(
    { length: 200 },
    (_, index): TarItem => ({
      name: `l${index}`,
      type: '2',
      linkName: index === 0 ? 'd' : `l${index - 1}`,
    }),
  );
  const xattr = (key: number): TarItem => ({
    name: 'd/',
    type: '5',
    pax: [[`SCHILY.xattr.user.${key}`, 'x'.repeat(60)]],
  });
  it.each<[keyof LayerLimits, number, TarItem[]]>([
    ['pathBytes', 20, [{ name: 'a/path/of/more/than/20' }]],
    ['pathBytes', 20, [{ name: 'l', type: '2', linkName: 'x'.repeat(21) }]],
    ['pathBytes', 4096, [{ name: 'h', type: '1', linkName: 'x', pax: [['linkpath', 'a/'.repeat(400_000)]] }]],
    ['metadataBytes', 50, Array.from({ length: 9 }, (_, index) => ({ name: `long-name-${index}` }))],
    ['xattrBytes', 100, [xattr(1), xattr(2)]],
    ['entries', 5, [{ name: 'a/b/c/d/e/f' }]],
    [
      'pathSteps',
      10_000,
      [...chain, ...Array.from({ length: 50 }, (_, index) => ({ name: `l${199 - index}/f` }))],
    ],
  ])('of %s hold: %d', async (name, value, items) => {
    const error: unknown = await mergeLayers([tarArchive(items)], { limits: { [name]: value } }).catch(
      (reason: unknown) => reason,
    );
    expect(isDrakkarError(error, 'limit_exceeded'), String(error)).toBe(true);
    expect(String(error)).toMatch(/layer 1, entry ".*": .*over the limit of \d+/);
  });

  it('stop links that make a path longer and longer', async () => {
    const growing = Array.from({ length: 200 }, (_, index) => ({
      name: `l${index}`,
      type: '2',
      pax: [['linkpath', `l${index + 1}/${'y/'.repeat(2000)}`] as const],
    }));
    await expect(merge([...growing, { name: 'l0/f' }])).rejects.toMatchObject({
      code: 'invalid_content',
      message: expect.stringContaining('without end'),
    });
  });

  it('let the deepest of paths be', async () => {
    const tree = await merge([{ name: 'f', pax: [['path', `${'d/'.repeat(2040)}f`]] }], [{ name: '.wh.x' }]);
    expect(tree.size).toBe(2042);
  });
});
