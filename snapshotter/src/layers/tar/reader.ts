import type { Place } from '../place.ts';
import { BLOCK_BYTES, isZeroBlock, parseHeader, type RawHeader, text } from './header.ts';
import { parseDecimal, parseTime, type Time } from './numbers.ts';
import { type PaxRecords, parsePax } from './pax.ts';
import { ByteSource } from './source.ts';
import { readOldGnuMap, readPaxMap, type SparseMap } from './sparse.ts';

export type TarEntryKind =
  | 'file'
  | 'hardlink'
  | 'symlink'
  | 'character'
  | 'block'
  | 'directory'
  | 'fifo'
  /** A global PAX header: containerd treats its name as an entry's. */
  | 'global'
  /** A type that no layer may have, for the receiver to refuse. */
  | 'other';

/** One entry, with PAX records, GNU long names and sparse maps taken into account. Strings are bytes as `latin1`. */
export interface TarEntry {
  readonly kind: TarEntryKind;
  readonly type: string;
  readonly name: string;
  readonly linkName: string;
  /** As a reader of the file sees it, holes included. */
  readonly sizeBytes: number;
  readonly mode: number;
  /** Modulo 2³², as the system calls take it; {@link SAME_OWNER} is "leave it". */
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Time;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array> | undefined;
}

/** `(uid_t)-1`. Source: chown(2). */
export const SAME_OWNER = 0xffffffff;

/** Takes the content of one file. */
export interface EntryBody {
  /** Offsets ascend; what is left out is a hole. The bytes are only valid during the call. */
  write(offset: number, bytes: Uint8Array): Promise<void> | undefined;
  end(): void;
}

/** Called for each entry in order; content is passed over when nothing is returned. */
export type EntryReceiver = (entry: TarEntry) => EntryBody | undefined;

export interface TarOptions {
  readonly place: Place;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a layer's archive to its end, and what stands behind the end, too. Accepts all that Go's archive/tar, and so
 * containerd, does, and old GNU sparse files. No end of archive is accepted; an end within an entry is not.
 *
 * @throws `invalid_content` | `limit_exceeded` | `cancelled`, or what the bytes or the receiver throw
 */
export async function readTar(
  bytes: AsyncIterable<Uint8Array>,
  receive: EntryReceiver,
  options: TarOptions,
): Promise<void> {
  const source = new ByteSource(bytes, options.place, options.signal);
  try {
    await readEntries(source, receive, options.place);
    while (await source.fill());
  } finally {
    source.close();
  }
}

/** In front of one entry. Three make sense: a PAX header, a long name, a long link. */
const MAX_META_HEADERS = 16;

const DATA_LESS: Readonly<Record<string, TarEntryKind>> = {
  1: 'hardlink',
  2: 'symlink',
  3: 'character',
  4: 'block',
  5: 'directory',
  6: 'fifo',
};

async function readEntries(source: ByteSource, receive: EntryReceiver, place: Place): Promise<void> {
  let pax: PaxRecords | undefined;
  let longName = '';
  let longLink = '';
  let metaHeaders = 0;
  for (;;) {
    const block = source.takeExactly(BLOCK_BYTES) ?? (await source.read(BLOCK_BYTES));
    if (block.length === 0) return;
    if (block.length < BLOCK_BYTES) throw place.invalid('the layer ends in the middle of the next header');
    if (block[0] === 0 && isZeroBlock(block)) return checkEnd(source, place);
    const header = parseHeader(block, place);
    if (header.size < 0) throw place.invalid('its size is negative');
    switch (header.type) {
      case 'x':
      case 'g':
        pax = parsePax(await readMeta(source, header, place), place);
        if (header.type === 'g') break;
        metaHeaders = nextMeta(metaHeaders, place);
        continue;
      case 'L':
      case 'K': {
        const long = await readMeta(source, header, place);
        if (header.type === 'L') longName = text(long, 0, long.length);
        else longLink = text(long, 0, long.length);
        metaHeaders = nextMeta(metaHeaders, place);
        continue;
      }
    }
    place.addEntry();
    metaHeaders = 0;
    const isGlobal = header.type === 'g';
    const mtime = mergePax(header, pax, place);
    if (!isGlobal && longName !== '') header.name = longName;
    if (!isGlobal && longLink !== '') header.linkName = longLink;
    place.entry = header.name;
    const kind = kindOf(header);
    let storedBytes = isGlobal || header.type in DATA_LESS ? 0 : header.size;
    const padding = paddingOf(storedBytes);
    let sparse: SparseMap | undefined;
    if (header.type === 'S') sparse = await readOldGnuMap(block, header, source, place);
    else if (pax !== undefined && !isGlobal && hasSparse(pax)) {
      sparse = await readPaxMap(pax.values, storedBytes, source, place);
      const name = pax.values.get('GNU.sparse.name');
      if (sparse !== undefined && name) header.name = name;
    }
    if (sparse !== undefined && header.type in DATA_LESS) throw place.invalid('it is sparse but not a file');
    storedBytes -= sparse?.mapBytes ?? 0;
    place.entry = header.name;
    const sizeBytes = sparse?.sizeBytes ?? storedBytes;
    place.bound('fileBytes', sizeBytes, 'the file is too large');
    const body = receive({
      kind,
      type: header.type,
      name: header.name,
      linkName: header.linkName,
      sizeBytes,
      mode: header.mode & 0o7777,
      uid: owner(header.uid, place),
      gid: owner(header.gid, place),
      mtime,
      major: header.major,
      minor: header.minor,
      xattrs: pax?.xattrs,
    });
    if (sparse !== undefined) await copySparse(source, body, sparse, storedBytes, place);
    else if (storedBytes > 0) await copy(source, body, 0, storedBytes, place);
    body?.end();
    // An archive may end in the padding of its last entry.
    if (source.takeExactly(padding) === undefined) await source.skip(padding);
    pax = undefined;
    longName = '';
    longLink = '';
  }
}

function nextMeta(count: number, place: Place): number {
  if (count < MAX_META_HEADERS) return count + 1;
  throw place.error(
    'limit_exceeded',
    `more than ${MAX_META_HEADERS} PAX headers and long names stand in a row`,
  );
}

function kindOf(header: RawHeader): TarEntryKind {
  const dataLess = DATA_LESS[header.type];
  if (dataLess !== undefined) return dataLess;
  if (header.type === '\0') return header.name.endsWith('/') ? 'directory' : 'file';
  if (header.type === '0' || header.type === 'S') return 'file';
  return header.type === 'g' ? 'global' : 'other';
}

function hasSparse(pax: PaxRecords): boolean {
  return pax.values.has('GNU.sparse.major') || pax.values.has('GNU.sparse.map');
}

/** Overwrites the header with the records; an empty record leaves the header's own value. */
function mergePax(header: RawHeader, pax: PaxRecords | undefined, place: Place): Time {
  let time: Time | undefined;
  for (const [key, value] of pax?.values ?? []) {
    if (value === '') continue;
    const number = (): number => {
      const parsed = parseDecimal(value);
      if (parsed === undefined) throw place.invalid(`its PAX record ${key} is not a number`);
      return parsed;
    };
    if (key === 'path') header.name = value;
    else if (key === 'linkpath') header.linkName = value;
    else if (key === 'uid') header.uid = number();
    else if (key === 'gid') header.gid = number();
    else if (key === 'size') {
      header.size = number();
      if (header.size < 0) throw place.invalid('its size is negative');
    } else if (key === 'mtime') {
      time = parseTime(value);
      if (time === undefined) throw place.invalid('its PAX record mtime is not a time');
    }
  }
  return time ?? { seconds: header.mtime, nanoseconds: 0 };
}

/** @throws `invalid_content` for what no 64-bit reader would agree on */
function owner(id: number, place: Place): number {
  // The rest works with doubles, which V8 boxes: 32 bytes more for each inode.
  if (id >= 0 && id < 2 ** 31) return id;
  if (!Number.isSafeInteger(id)) throw place.invalid('its uid or gid is out of all bounds');
  return ((id % 2 ** 32) + 2 ** 32) % 2 ** 32;
}

function paddingOf(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

/** One zero block at the very end is an end, too; a header behind one is damage. */
async function checkEnd(source: ByteSource, place: Place): Promise<void> {
  const second = await source.read(BLOCK_BYTES);
  if (second.length > 0 && !isZeroBlock(second))
    throw place.invalid('a block of zeros follows it, and then more: the archive is damaged');
}

async function readMeta(source: ByteSource, header: RawHeader, place: Place): Promise<Buffer> {
  place.bound('metaEntryBytes', header.size, 'its PAX header or long name is too long');
  const bytes = await source.read(header.size);
  if (bytes.length < header.size) throw place.invalid('the layer ends in its PAX header or long name');
  await source.skip(paddingOf(header.size));
  return bytes;
}

async function copySparse(
  source: ByteSource,
  body: EntryBody | undefined,
  sparse: SparseMap,
  storedBytes: number,
  place: Place,
): Promise<void> {
  let left = storedBytes;
  for (let at = 0; at < sparse.fragments.length; at += 2) {
    const length = sparse.fragments[at + 1] ?? 0;
    left -= length;
    if (left < 0) break;
    await copy(source, body, sparse.fragments[at] ?? 0, length, place);
  }
  if (left !== 0) throw place.invalid('its stored bytes are not those that its sparse map names');
}

async function copy(
  source: ByteSource,
  body: EntryBody | undefined,
  start: number,
  length: number,
  place: Place,
): Promise<void> {
  const end = start + length;
  for (let at = start; at < end; ) {
    const bytes = source.takeUpTo(end - at);
    if (bytes.length === 0) {
      if (await source.fill()) continue;
      throw place.invalid(`the layer ends ${end - at} bytes before its content does`);
    }
    const pause = body?.write(at, bytes);
    if (pause !== undefined) await pause;
    at += bytes.length;
  }
}
