/**
 * Tar archives byte by byte, well-formed or not: every field of a header can be given, and any byte changed.
 * For well-formed archives that are large, use `tar-stream`.
 */

/** Text is UTF-8; anything else is bytes as they are. */
export type TarText = string | Uint8Array;

export interface TarHeader {
  readonly name: TarText;
  /** One character; default `0`, a file. */
  readonly type?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds; negative numbers and those over eleven octal digits are written in base 256. */
  readonly mtime?: number;
  /** Default: that of the data. */
  readonly size?: number;
  readonly linkName?: TarText;
  readonly major?: number;
  readonly minor?: number;
  readonly prefix?: TarText;
  /** Default `ustar`. */
  readonly format?: 'v7' | 'ustar' | 'gnu';
  /** How the checksum is formed; `keep` leaves what `patch` wrote. Default `unsigned`. */
  readonly checksum?: 'unsigned' | 'signed' | 'keep';
  /** Last changes to the block, before the checksum. */
  readonly patch?: (block: Buffer) => void;
}

export interface TarItem extends TarHeader {
  readonly data?: TarText;
  /** PAX records in front of the entry, in this order. */
  readonly pax?: readonly (readonly [key: TarText, value: TarText])[];
}

/** The time of entries that name none: 2020-09-13. */
export const TAR_MTIME_SECONDS = 1_600_000_000;

const BLOCK = 512;

export function tarHeader(header: TarHeader): Buffer {
  const block = Buffer.alloc(BLOCK);
  const format = header.format ?? 'ustar';
  putText(block, header.name, 0, 100);
  putNumber(block, header.mode ?? (header.type === '5' ? 0o755 : 0o644), 100, 8);
  putNumber(block, header.uid ?? 0, 108, 8);
  putNumber(block, header.gid ?? 0, 116, 8);
  putNumber(block, header.size ?? 0, 124, 12);
  putNumber(block, header.mtime ?? TAR_MTIME_SECONDS, 136, 12);
  block.write(header.type ?? '0', 156, 'latin1');
  putText(block, header.linkName ?? '', 157, 100);
  if (format !== 'v7') {
    block.write(format === 'gnu' ? 'ustar  \0' : 'ustar\x0000', 257, 'latin1');
    putNumber(block, header.major ?? 0, 329, 8);
    putNumber(block, header.minor ?? 0, 337, 8);
    putText(block, header.prefix ?? '', 345, 155);
  }
  header.patch?.(block);
  if (header.checksum !== 'keep') {
    block.fill(0x20, 148, 156);
    const sum = block.reduce(
      (total, byte) => total + (header.checksum === 'signed' && byte > 127 ? byte - 256 : byte),
      0,
    );
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return block;
}

/** A header with its data and padding, and PAX records in front. */
export function tarItem(item: TarItem): Buffer {
  const data = bytesOf(item.data ?? '');
  const pax = item.pax === undefined ? Buffer.alloc(0) : paxHeader(item.pax);
  return Buffer.concat([pax, tarHeader({ ...item, size: item.size ?? data.length }), padded(data)]);
}

/** A PAX header for the next entry, or with type `g` for all that follow. */
export function paxHeader(
  records: readonly (readonly [key: TarText, value: TarText])[],
  header: Partial<TarHeader> = {},
): Buffer {
  const data = Buffer.concat(records.map(([key, value]) => paxRecord(bytesOf(key), bytesOf(value))));
  const item = { name: 'PaxHeaders/next', type: 'x', ...header };
  return Buffer.concat([tarHeader({ ...item, size: item.size ?? data.length }), padded(data)]);
}

function paxRecord(key: Buffer, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  let length = rest + 1;
  while (length !== rest + String(length).length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} `), key, Buffer.from('='), value, Buffer.from('\n')]);
}

/** Parts and items one after the other, with the two blocks of zeros that end an archive. */
export function tarArchive(
  parts: readonly (TarItem | Uint8Array)[],
  options: { end?: boolean } = {},
): Buffer {
  const bytes = parts.map((part) => (part instanceof Uint8Array ? part : tarItem(part)));
  return Buffer.concat(options.end === false ? bytes : [...bytes, Buffer.alloc(2 * BLOCK)]);
}

/** Data as it stands in an archive: filled up to whole blocks. */
export function padded(data: Uint8Array): Buffer {
  return Buffer.concat([data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)]);
}

function bytesOf(text: TarText): Buffer {
  return typeof text === 'string' ? Buffer.from(text) : Buffer.from(text);
}

function putText(block: Buffer, text: TarText, at: number, length: number): void {
  const bytes = bytesOf(text);
  if (bytes.length > length) throw new RangeError(`${bytes.length} bytes do not fit a field of ${length}`);
  bytes.copy(block, at);
}

function putNumber(block: Buffer, value: number, at: number, length: number): void {
  if (value >= 0 && value < 8 ** (length - 1)) {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
    return;
  }
  let rest = BigInt.asUintN(8 * length, BigInt(value));
  for (let index = at + length - 1; index >= at; index -= 1) {
    block[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[at] = (block[at] ?? 0) | 0x80;
}
