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
