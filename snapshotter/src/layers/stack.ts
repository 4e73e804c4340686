import { DEFAULT_LAYER_LIMITS, type LayerLimits } from './limits.ts';
import { Overlay } from './overlay.ts';
import { Place } from './place.ts';
import { type EntryBody, readTar, type TarEntry } from './tar/reader.ts';
import type { ContentSink, Directory } from './tree.ts';
import { Upper } from './upper.ts';

export interface LayerStackOptions {
  /** Takes the content of all files, those that a later layer hides too. */
  readonly sink: ContentSink;
  /** Time of the root, and of directories that no entry names. Usually the image's creation time. */
  readonly createdSeconds: number;
  readonly limits?: Partial<LayerLimits> | undefined;
}

/** Applies the layers of one image, lowest first, and keeps the tree that they make together. */
export class LayerStack {
  readonly #sink: ContentSink;
  readonly #createdSeconds: number;
  readonly #place: Place;
  readonly #overlay = new Overlay();
  /** The upper directories of the layers applied, the topmost first. */
  readonly #uppers: Directory[] = [];
  #root: Directory;

  constructor(options: LayerStackOptions) {
    this.#sink = options.sink;
    this.#createdSeconds = options.createdSeconds;
    this.#place = new Place({ ...DEFAULT_LAYER_LIMITS, ...options.limits });
    this.#root = emptyRoot(options.createdSeconds);
  }

  /** The merged tree of the layers so far. The next layer may change it. */
  get root(): Directory {
    return this.#root;
  }

  /**
   * Reads one uncompressed layer to its end, so that whoever feeds it can verify the whole. After an error the stack is
   * of no further use.
   *
   * @param name how errors name the layer
   * @throws `invalid_content` | `limit_exceeded` | `cancelled`, or what `bytes` or the sink throw
   */
  async applyLayer(
    name: string,
    bytes: AsyncIterable<Uint8Array>,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    this.#place.startLayer(name);
    const upper = new Upper(emptyRoot(this.#createdSeconds), {
      place: this.#place,
      createdSeconds: this.#createdSeconds,
      parents: this.#uppers,
      lower: this.#root,
    });
    await readTar(bytes, (entry) => this.#receive(upper, entry), {
      place: this.#place,
      signal: options.signal,
    });
    upper.finish();
    this.#root = this.#overlay.applyRoot(this.#root, upper.root, upper.opaque);
    this.#uppers.unshift(upper.root);
  }

  #receive(upper: Upper, entry: TarEntry): EntryBody | undefined {
    const file = upper.apply(entry);
    if (file === undefined || entry.sizeBytes === 0) return undefined;
    const writer = this.#sink.begin(entry.sizeBytes);
    return {
      write: (offset, bytes) => writer.write(offset, bytes),
      end: () => {
        file.content = writer.end();
      },
    };
  }
}

function emptyRoot(createdSeconds: number): Directory {
  return {
    kind: 'directory',
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtimeSeconds: createdSeconds,
    mtimeNanoseconds: 0,
    xattrs: undefined,
    entries: new Map(),
  };
}
