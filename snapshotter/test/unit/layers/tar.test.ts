import { paxHeader, type TarItem, tarArchive, tarHeader, tarItem } from '@drakkar/lab';
import { isDrakkarError } from '@drakkar/protocol';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LAYER_LIMITS, type LayerLimits } from '../../../src/layers/limits.ts';
import { Place } from '../../../src/layers/place.ts';
import { parseNumeric, parseTime } from '../../../src/layers/tar/numbers.ts';
import { readTar, type TarEntry } from '../../../src/layers/tar/reader.ts';
import { inChunks } from './support.ts';

interface ReadEntry extends TarEntry {
  /** Offsets and bytes as they were written, neighbours joined. */
  readonly written: { offset: number; bytes: Buffer }[];
}

async function read(
  bytes: Uint8Array | AsyncIterable<Uint8Array>,
  options: { limits?: Partial<LayerLimits>; chunkBytes?: number; signal?: AbortSignal } = {},
): Promise<ReadEntry[]> {
  const place = new Place({ ...DEFAULT_LAYER_LIMITS, ...options.limits });
  place.startLayer('L');
  const entries: ReadEntry[] = [];
  const source = bytes instanceof Uint8Array ? inChunks(bytes, options.chunkBytes) : bytes;
  const receive = (entry: TarEntry) => {
    const written: ReadEntry['written'] = [];
    entries.push({ ...entry, written });
    return {
      write: (offset: number, part: Uint8Array) => {
        const last = written.at(-1);
        if (last !== undefined && last.offset + last.bytes.length === offset)
          last.bytes = Buffer.concat([last.bytes, part]);
        else written.push({ offset, bytes: Buffer.from(part) });
        return undefined;
      },
      end: () => undefined,
    };
  };
  await readTar(source, receive, { place, signal: options.signal });
  return entries;
}

async function failure(reading: Promise<unknown>): Promise<string> {
  const error = await reading.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isDrakkarError(error)) throw new Error(`not refused with an error of ours: ${String(error)}`);
  return `${error.code}: ${error.message}`;
}

const XATTR = Buffer.from([0x01, 0x00, 0x00, 0x02, 0xff, 0x0a, 0x80, 0x3d, 0x00]);

describe('extended attributes', () => {
  it('keep every byte, NULs and newlines too', async () => {
    const archive = tarArchive([
      {
        name: 'f',
        data: 'x',
        pax: [
          ['SCHILY.xattr.security.capability', XATTR],
          ['SCHILY.xattr.user.empty', ''],
        ],
      },
    ]);
    const [entry] = await read(archive);
    expect(Buffer.from(entry?.xattrs?.get('security.capability') ?? [])).toEqual(XATTR);
    expect(entry?.xattrs?.get('user.empty')).toHaveLength(0);
  });

  it('would lose bytes in tar-stream, which decodes them as UTF-8: the reason for a reader of our own', async () => {
    const archive = tarArchive([
      { name: 'f', data: 'x', pax: [['SCHILY.xattr.security.capability', XATTR]] },
    ]);
    const reader = extract();
    reader.end(archive);
    for await (const entry of reader) {
      const value =
        new Map(Object.entries(entry.header.pax ?? {}) as [string, string][]).get(
          'SCHILY.xattr.security.capability',
        ) ?? '';
      expect(Buffer.from(value, 'utf8')).not.toEqual(XATTR);
      expect(Buffer.from(value, 'latin1')).not.toEqual(XATTR);
      entry.resume();
    }
  });
});

describe('an archive', () => {
  const items: TarItem[] = [
    { name: 'dir/', type: '5' },
    {
      name: 'dir/file',
      data: 'content'.repeat(300),
      pax: [
        ['mtime', '1.5'],
        ['SCHILY.xattr.user.a', XATTR],
      ],
    },
    { name: 'link', type: '2', linkName: 'dir/file' },
    { name: 'aligned', data: 'x'.repeat(1024) },
    { name: 'empty' },
  ];

  it('reads the same, however its bytes are cut', async () => {
    const archive = Buffer.concat([tarArchive(items), Buffer.from('behind the end')]);
    const whole = await read(archive);
    expect(whole.map(({ name }) => name)).toEqual(['dir/', 'dir/file', 'link', 'aligned', 'empty']);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1500 }), async (chunkBytes) => {
        expect(await read(archive, { chunkBytes })).toEqual(whole);
      }),
      { numRuns: 40 },
    );
  });

  it('may end anywhere between entries, and nowhere in one', async () => {
    const archive = tarArchive(items, { end: false });
    const accepted: number[] = [];
    for (let length = 0; length <= archive.length; length += 64) {
      const outcome = await read(archive.subarray(0, length)).then(
        () => 'read',
        (error: unknown) => (isDrakkarError(error, 'invalid_content') ? 'refused' : String(error)),
      );
      expect(['read', 'refused']).toContain(outcome);
      if (outcome === 'read') accepted.push(length);
    }
    // Behind each header block, in and behind the padding of 2100 bytes of content, at the ends.
    expect(accepted).toContain(0);
    expect(accepted).toContain(512);
    expect(accepted).toContain(archive.length);
    expect(accepted).not.toContain(512 + 64);
  });

  it('lets go of its bytes when it is refused', async () => {
    let closed = false;
    async function* bytes(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(512, 1);
      } finally {
        closed = true;
      }
    }
    expect(await failure(read(bytes()))).toMatch(/^invalid_content: layer L.*checksum/);
    expect(closed).toBe(true);
  });

  it('can be cancelled while its bytes do not come', async () => {
    const controller = new AbortController();
    async function* bytes(): AsyncGenerator<Uint8Array> {
      yield tarHeader({ name: 'f', size: 1000 });
      controller.abort();
      await new Promise(() => undefined);
    }
    expect(await failure(read(bytes(), { signal: controller.signal }))).toMatch(/^cancelled: .*layer L/);
  });
});

describe('numbers', () => {
  it('come back from octal and base 256, negative ones too', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const block = tarHeader({ name: 'n', mtime: value });
        expect(parseNumeric(block, 136, 12)).toBe(value);
      }),
    );
  });

  it('of times are cut at nanoseconds and count forwards', () => {
    expect(parseTime('1.0000000019')).toEqual({ seconds: 1, nanoseconds: 1 });
    expect(parseTime('-1.25')).toEqual({ seconds: -2, nanoseconds: 750_000_000 });
    expect(parseTime('1.')).toEqual({ seconds: 1, nanoseconds: 0 });
    for (const wrong of ['', '.5', '1.x', '1 ', '0x1', '1.-5']) expect(parseTime(wrong)).toBeUndefined();
  });

  it('of owners are taken modulo 2^32', async () => {
    const [entry] = await read(
      tarArchive([
        {
          name: 'f',
          pax: [
            ['uid', '4294967301'],
            ['gid', '-2'],
          ],
        },
      ]),
    );
    expect(entry).toMatchObject({ uid: 5, gid: 4294967294 });
  });
});

describe('sparse files', () => {
  const many = Array.from({ length: 30 }, (_, index) => [index * 8192, 512] as const);
  const octal = (value: number): string => `${value.toString(8).padStart(11, '0')}\0`;

  it('of old GNU tar may need extension blocks', async () => {
    const extensions = Buffer.alloc(1024);
    for (const [index, [offset, length]] of many.slice(4).entries()) {
      const at = index < 21 ? 24 * index : 512 + 24 * (index - 21);
      extensions.write(octal(offset) + octal(length), at, 'latin1');
    }
    extensions[504] = 1;
    const header = tarHeader({
      name: 's',
      type: 'S',
      format: 'gnu',
      size: 30 * 512,
      patch: (block) => {
        for (const [index, [offset, length]] of many.slice(0, 4).entries())
          block.write(octal(offset) + octal(length), 386 + 24 * index, 'latin1');
        block[482] = 1;
        block.write(octal(300_000), 483, 'latin1');
      },
    });
    const data = Buffer.concat(many.map((_, index) => Buffer.alloc(512, index + 1)));
    const [entry, next] = await read(tarArchive([header, extensions, data, { name: 'next' }]));
    expect(entry?.sizeBytes).toBe(300_000);
    expect(entry?.written.map(({ offset, bytes }) => [offset, bytes.length, bytes[0]])).toEqual(
      many.map(([offset, length], index) => [offset, length, index + 1]),
    );
    expect(next?.name).toBe('next');
  });

  const sparse = (map: string, size: string, data: string): Buffer =>
    tarArchive([
      {
        name: 's',
        data,
        pax: [
          ['GNU.sparse.numblocks', String(map.split(',').length / 2)],
          ['GNU.sparse.map', map],
          ['GNU.sparse.size', size],
        ],
      },
    ]);

  it.each([
    ['overlaps', '0,10,5,5', '100', 'x'.repeat(15)],
    ['goes back', '50,1,10,1', '100', 'xx'],
    ['leaves the file', '99,2', '100', 'xx'],
    ['is negative', '-1,2', '100', 'xx'],
    ['is no number', 'a,2', '100', 'xx'],
    ['names more than is stored', '0,10', '100', 'xx'],
    ['names less than is stored', '0,1', '100', 'xx'],
  ])('are refused when the map %s', async (_, map, size, data) => {
    expect(await failure(read(sparse(map, size, data)))).toMatch(/^invalid_content: layer L, entry "s"/);
  });

  it('of terabytes pass over the limit at once', async () => {
    expect(await failure(read(sparse('0,1', '99999999999999', 'x')))).toMatch(
      /^limit_exceeded: layer L, entry "s"/,
    );
  });
});

describe('limits', () => {
  const cases: [keyof LayerLimits, number, Buffer][] = [
    ['entries', 2, tarArchive([{ name: 'a' }, { name: 'b' }, { name: 'c' }])],
    ['metaEntryBytes', 100, tarArchive([{ name: 'a', pax: [['comment', 'x'.repeat(100)]] }])],
    [
      'metaEntryBytes',
      100,
      tarArchive([tarItem({ name: 'l', type: 'L', data: 'x'.repeat(200) }), { name: 'a' }]),
    ],
    ['metaEntryBytes', 1000, tarArchive([tarHeader({ name: 'x', type: 'x', size: 2 ** 40 })])],
    ['xattrBytes', 50, tarArchive([{ name: 'a', pax: [['SCHILY.xattr.user.x', 'x'.repeat(60)]] }])],
    ['fileBytes', 99, tarArchive([{ name: 'a', data: 'x'.repeat(100) }])],
    ['fileBytes', 99, tarArchive([tarHeader({ name: 'a', size: 8 ** 20 })])],
    ['totalBytes', 1500, tarArchive([{ name: 'a', data: 'x'.repeat(3000) }])],
    ['totalBytes', 3000, Buffer.concat([tarArchive([]), Buffer.alloc(4096)])],
  ];
  it.each(cases)('%s: %d', async (name, value, archive) => {
    expect(await failure(read(archive, { limits: { [name]: value }, chunkBytes: 512 }))).toMatch(
      /^limit_exceeded: layer L, .*limit of/,
    );
  });
});

describe('PAX headers', () => {
  it('do not count as entries, but too many in a row are refused', async () => {
    const headers = (count: number) => Array.from({ length: count }, () => paxHeader([['uid', '1']]));
    expect(await read(tarArchive([...headers(16), { name: 'a' }]), { limits: { entries: 1 } })).toHaveLength(
      1,
    );
    expect(await failure(read(tarArchive([...headers(17), { name: 'a' }])))).toMatch(
      /^limit_exceeded.*in a row/,
    );
  });

  it.each([
    ['has no length', 'path=a\n'],
    ['has a length beyond the header', '99 path=a\n'],
    ['has a length that is too short', '3 a=b\n'],
    ['does not end in a newline', '10 path=ab'],
    ['has no "="', '8 abcde\n'],
    ['has an empty key', '7 =abc\n'],
    ['has a NUL in a path', '12 path=a\0bc\n'],
    ['has a size that is no number', '10 size=x\n\n'],
  ])('are refused when a record %s', async (_, data) => {
    const archive = tarArchive([tarItem({ name: 'x', type: 'x', data }), { name: 'a' }]);
    expect(await failure(read(archive))).toMatch(/^invalid_content: layer L/);
  });

  it('count only for the next entry, the last one if there are two, and global ones for none', async () => {
    const entries = await read(
      tarArchive([
        paxHeader([['uid', '1']]),
        paxHeader([['gid', '2']]),
        { name: 'a' },
        { name: 'b' },
        paxHeader([['uid', '9']], { type: 'g', name: 'global' }),
        { name: 'c' },
      ]),
    );
    const files = entries.filter(({ kind }) => kind !== 'global');
    expect(files.map(({ kind, name, uid, gid }) => [kind, name, uid, gid])).toEqual([
      ['file', 'a', 0, 2],
      ['file', 'b', 0, 0],
      ['file', 'c', 0, 0],
    ]);
  });
});
