const ZEROS = Buffer.alloc(64 * 1024);

export function isZero(bytes: Uint8Array): boolean {
  if (bytes.length > 0 && bytes[0] !== 0) return false;
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length);
    if (ZEROS.compare(part, 0, part.length, 0, part.length) !== 0) return false;
  }
  return true;
}

export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The parts of `bytes` that are worth writing to a sparse file: without its zero blocks of `unitBytes`, neighbours joined. */
export function dataSpans(bytes: Uint8Array, unitBytes: number): Span[] {
  const spans: Span[] = [];
  let start = -1;
  for (let at = 0; at < bytes.length; at += unitBytes) {
    const zero = isZero(bytes.subarray(at, at + unitBytes));
    if (!zero && start < 0) start = at;
    if (zero && start >= 0) {
      spans.push({ start, end: at });
      start = -1;
    }
  }
  if (start >= 0) spans.push({ start, end: bytes.length });
  return spans;
}
