import type { Place } from '../place.ts';
import { BLOCK_BYTES, type RawHeader } from './header.ts';
import { parseDecimal, parseNumeric } from './numbers.ts';
import type { ByteSource } from './source.ts';

/** What of a sparse file is stored: the rest of its `sizeBytes` is holes. */
export interface SparseMap {
  readonly sizeBytes: number;
  /** Offset and length in turn, ascending. */
  readonly fragments: readonly number[];
  /** Bytes of the entry's stored data that the map itself took. */
  readonly mapBytes: number;
}

/** An offset and a length, each a number of up to 12 bytes. GNU tar manual, "Storing Sparse Files" and tar.h. */
const FRAGMENT_BYTES = 24;
const HEADER_FRAGMENTS = { at: 386, count: 4 };
const EXTENSION_FRAGMENTS = { at: 0, count: 21 };
const REAL_SIZE_AT = 483;

/** The old GNU format, type `S`: the map stands in the header and in extension blocks that follow it. */
export async function readOldGnuMap(
  block: Buffer,
  header: RawHeader,
  source: ByteSource,
  place: Place,
): Promise<SparseMap> {
  if (!header.gnu) throw place.invalid('it is of type S but has no GNU header');
  const sizeBytes = parseNumeric(block, REAL_SIZE_AT, 12);
  if (sizeBytes === undefined) throw place.invalid('its sparse size is not a number');
  const fragments: number[] = [];
  let current = block;
  let table = HEADER_FRAGMENTS;
  let readBytes = 0;
  for (;;) {
    const end = table.at + table.count * FRAGMENT_BYTES;
    for (let at = table.at; at < end && current[at] !== 0; at += FRAGMENT_BYTES) {
      const offset = parseNumeric(current, at, 12);
      const length = parseNumeric(current, at + 12, 12);
      if (offset === undefined || length === undefined)
        throw place.invalid('its sparse map has something that is not a number');
      fragments.push(offset, length);
    }
    if (current[end] === 0) break;
    readBytes += BLOCK_BYTES;
    place.bound('metaEntryBytes', readBytes, 'the sparse map is too long');
    current = await source.read(BLOCK_BYTES);
    if (current.length < BLOCK_BYTES) throw place.invalid('the layer ends in its sparse map');
    table = EXTENSION_FRAGMENTS;
  }
  return checked({ sizeBytes, fragments, mapBytes: 0 }, place);
}

/**
 * The PAX formats 0.0, 0.1 and 1.0. `undefined` when the entry is of none of them.
 * `storedBytes`: the entry's data, in front of which 1.0 has its map.
 */
export async function readPaxMap(
  values: ReadonlyMap<string, string>,
  storedBytes: number,
  source: ByteSource,
  place: Place,
): Promise<SparseMap | undefined> {
  const major = values.get('GNU.sparse.major') ?? '';
  const minor = values.get('GNU.sparse.minor') ?? '';
  const inData = major === '1' && minor === '0';
  const inRecords =
    (major === '0' && (minor === '0' || minor === '1')) ||
    (major === '' && minor === '' && (values.get('GNU.sparse.map') ?? '') !== '');
  if (!inData && !inRecords) return undefined;
  const sizeText = values.get('GNU.sparse.size') || values.get('GNU.sparse.realsize');
  const number = (text: string): number => {
    const value = parseDecimal(text);
    if (value === undefined) throw place.invalid('its sparse map has something that is not a number');
    return value;
  };
  const sizeBytes = sizeText ? number(sizeText) : storedBytes;
  if (inData) {
    const { numbers, mapBytes } = await readLeadingMap(storedBytes, source, place, number);
    return checked({ sizeBytes, fragments: numbers, mapBytes }, place);
  }
  const count = number(values.get('GNU.sparse.numblocks') ?? '');
  const map = values.get('GNU.sparse.map') ?? '';
  const fragments = map === '' ? [] : map.split(',').map(number);
  if (fragments.length !== 2 * count) throw place.invalid('its sparse map is not as long as it says');
  return checked({ sizeBytes, fragments, mapBytes: 0 }, place);
}

/** Format 1.0: decimal numbers on lines of their own, their count first, padded to a whole block. */
async function readLeadingMap(
  storedBytes: number,
  source: ByteSource,
  place: Place,
  number: (text: string) => number,
): Promise<{ numbers: number[]; mapBytes: number }> {
  let mapBytes = 0;
  let rest = '';
  let expected: number | undefined;
  const numbers: number[] = [];
  while (expected === undefined || numbers.length < expected) {
    mapBytes += BLOCK_BYTES;
    place.bound('metaEntryBytes', mapBytes, 'the sparse map is too long');
    if (mapBytes > storedBytes) throw place.invalid('its sparse map is longer than its data');
    const block = await source.read(BLOCK_BYTES);
    if (block.length < BLOCK_BYTES) throw place.invalid('the layer ends in its sparse map');
    const lines = (rest + block.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (expected === undefined) {
        expected = 2 * number(line);
        if (expected < 0) throw place.invalid('its sparse map has a negative length');
      } else if (numbers.length < expected) numbers.push(number(line));
    }
  }
  return { numbers, mapBytes };
}

function checked(map: SparseMap, place: Place): SparseMap {
  if (map.sizeBytes < 0) throw place.invalid('its sparse size is negative');
  let end = 0;
  for (let at = 0; at < map.fragments.length; at += 2) {
    const offset = map.fragments[at] ?? 0;
    const length = map.fragments[at + 1] ?? 0;
    if (offset < end || length < 0 || !(offset + length <= map.sizeBytes))
      throw place.invalid('its sparse map overlaps, goes back or leaves the file');
    end = offset + length;
  }
  return map;
}
