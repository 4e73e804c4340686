/** One change to a message: what fuzzing makes of valid bytes. */
export interface Edit {
  readonly kind: 'set' | 'insert' | 'remove' | 'cut';
  /** Counted around, so that any number is a place. */
  readonly at: number;
  readonly value: number;
}

/** Pure. */
export function mutate(bytes: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const mutated = [...bytes];
  for (const { kind, at, value } of edits) {
    const place = at % Math.max(1, mutated.length);
    if (kind === 'set') mutated[place] = value & 0xff;
    else if (kind === 'insert') mutated.splice(place, 0, value & 0xff);
    else mutated.splice(place, kind === 'remove' ? 1 : mutated.length);
  }
  return Uint8Array.from(mutated);
}

/** A message with its length before it, as an unsigned varint: what fuzzing puts on a stream. Pure. */
export function framed(bytes: Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let rest = bytes.length; ; rest >>>= 7) {
    length.push(rest < 128 ? rest : (rest & 127) | 128);
    if (rest < 128) break;
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}
