import type { ListedChunk } from '@drakkar/protocol';

/** Where a chunk lies: index of the device, and blocks of 4096 bytes on it. */
export type ChunkPlace = Omit<ListedChunk, 'sha256'>;

/** Knows chunks by the sha256 of their bytes. */
export interface ChunkIndex {
  find(sha256: Uint8Array): ChunkPlace | undefined;
  /** The chunk must not be known yet. */
  add(sha256: Uint8Array, place: ChunkPlace): void;
}

const KEY_BYTES = 32;
const PAGE_ENTRIES = 4096;

interface Page {
  readonly keys: Buffer;
  readonly startBlocks: Uint32Array;
  readonly blocks: Uint16Array;
  readonly devices: Uint8Array;
}

/**
 * A {@link ChunkIndex} in memory: about 50 bytes a chunk, outside the JavaScript heap. An image of 4 GiB has some ten
 * thousand chunks, one of a million small files a million.
 *
 * Open addressing with linear probing; sha256 spreads by itself.
 */
export class MemoryChunkIndex implements ChunkIndex {
  readonly #pages: Page[] = [];
  /** Number of the entry + 1, 0 for free. A power of two long, at most half full. */
  #slots = new Uint32Array(PAGE_ENTRIES * 2);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  find(sha256: Uint8Array): ChunkPlace | undefined {
    const key = viewOf(sha256);
    const entry = (this.#slots[this.#slotOf(key)] ?? 0) - 1;
    if (entry < 0) return undefined;
    return this.#placeOf(entry);
  }

  add(sha256: Uint8Array, place: ChunkPlace): void {
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    const entry = this.#size++;
    const at = entry % PAGE_ENTRIES;
    if (at === 0) {
      this.#pages.push({
        keys: Buffer.allocUnsafeSlow(PAGE_ENTRIES * KEY_BYTES),
        startBlocks: new Uint32Array(PAGE_ENTRIES),
        blocks: new Uint16Array(PAGE_ENTRIES),
        devices: new Uint8Array(PAGE_ENTRIES),
      });
    }
    const key = viewOf(sha256);
    this.#slots[this.#slotOf(key)] = entry + 1;
    const page = this.#pages.at(-1);
    page?.keys.set(key, at * KEY_BYTES);
    page?.startBlocks.fill(place.startBlock, at, at + 1);
    page?.blocks.fill(place.blocks, at, at + 1);
    page?.devices.fill(place.device, at, at + 1);
  }

  /** How many blocks of each device are chunks that are known. */
  usedBlocks(deviceCount: number): number[] {
    const used = Array.from({ length: deviceCount }, () => 0);
    for (let entry = 0; entry < this.#size; entry++) {
      const { device, blocks } = this.#placeOf(entry);
      used[device] = (used[device] ?? 0) + blocks;
    }
    return used;
  }

  /** All chunks, in the order of their devices and blocks. */
  *inOrder(): Generator<ListedChunk, void, undefined> {
    const order = new Uint32Array(this.#size);
    for (let entry = 0; entry < order.length; entry++) order[entry] = entry;
    order.sort((a, b) => {
      const [first, second] = [this.#placeOf(a), this.#placeOf(b)];
      return first.device - second.device || first.startBlock - second.startBlock;
    });
    for (const entry of order) {
      const at = (entry % PAGE_ENTRIES) * KEY_BYTES;
      const keys = this.#pages[Math.floor(entry / PAGE_ENTRIES)]?.keys ?? Buffer.alloc(0);
      yield { sha256: keys.subarray(at, at + KEY_BYTES), ...this.#placeOf(entry) };
    }
  }

  #placeOf(entry: number): ChunkPlace {
    const page = this.#pages[Math.floor(entry / PAGE_ENTRIES)];
    const at = entry % PAGE_ENTRIES;
    return {
      device: page?.devices[at] ?? 0,
      startBlock: page?.startBlocks[at] ?? 0,
      blocks: page?.blocks[at] ?? 0,
    };
  }

  /** The slot that holds the key, or the free one where it belongs. */
  #slotOf(key: Buffer): number {
    const mask = this.#slots.length - 1;
    let slot = key.readUInt32LE(0) & mask;
    for (let entry = this.#slots[slot] ?? 0; entry !== 0; entry = this.#slots[slot] ?? 0) {
      const keys = this.#pages[Math.floor((entry - 1) / PAGE_ENTRIES)]?.keys;
      const at = ((entry - 1) % PAGE_ENTRIES) * KEY_BYTES;
      if (keys?.compare(key, 0, KEY_BYTES, at, at + KEY_BYTES) === 0) return slot;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #grow(): void {
    const mask = this.#slots.length * 2 - 1;
    const slots = new Uint32Array(mask + 1);
    for (let entry = 0; entry < this.#size; entry++) {
      const keys = this.#pages[Math.floor(entry / PAGE_ENTRIES)]?.keys;
      let slot = (keys?.readUInt32LE((entry % PAGE_ENTRIES) * KEY_BYTES) ?? 0) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = entry + 1;
    }
    this.#slots = slots;
  }
}

function viewOf(sha256: Uint8Array): Buffer {
  return Buffer.isBuffer(sha256) ? sha256 : Buffer.from(sha256.buffer, sha256.byteOffset, sha256.byteLength);
}
