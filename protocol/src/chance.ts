/** A number of 32 bits from a name. Source: FNV-1a, over the end of the name, where keys differ. */
export function numberOf(name: string): number {
  let number = 0x811c9dc5;
  for (let index = Math.max(0, name.length - 12); index < name.length; index += 1) {
    number = Math.imul(number ^ name.charCodeAt(index), 0x01000193);
  }
  return number >>> 0;
}

/** The same for the same two numbers, and as if drawn by chance from 0 to 1 otherwise. Source: the finalizer of MurmurHash3. */
export function chanceOf(one: number, other: number): number {
  let mixed = Math.imul(one ^ 0x9e3779b9, 0x85ebca6b) ^ other;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
}
