import type { TarItem, Tree, TreeEntry } from '@drakkar/lab';

/**
 * Layers by definition, slowly: each layer is a flat map of paths, and a path of the image is looked up as Linux's
 * overlayfs does, from the topmost layer down, component by component. Nothing is merged.
 *
 * It covers what a well-made image does: symbolic links lead nowhere, and {@link ModelImage.add} says false to what would
 * lead through something that is no directory, or hide a name of its own layer.
 */

interface Node {
  readonly type: TreeEntry['type'] | 'whiteout';
  mode: number;
  uid: number;
  mtime: number;
  xattrs: Map<string, string>;
  readonly data: string;
  opaque: boolean;
}

export type Operation =
  | { readonly do: 'file' | 'fifo' | 'symlink' | 'directory'; readonly path: string; readonly look: Look }
  | { readonly do: 'link'; readonly path: string; readonly to: string; readonly look: Look }
  | { readonly do: 'whiteout'; readonly path: string }
  | { readonly do: 'opaque'; readonly path: string };

/** What an entry says about attributes, from one small number. */
export type Look = number;

type Layer = Map<string, Node>;

const NOWHERE = 'nowhere';

export class ModelImage {
  /** The lowest first. */
  readonly #layers: Layer[] = [];
  readonly #createdSeconds: number;

  constructor(createdSeconds: number) {
    this.#createdSeconds = createdSeconds;
  }

  startLayer(): void {
    this.#layers.push(new Map());
  }

  /** Adds an operation to the current layer. False, and nothing done, when no well-made image has it there. */
  add(operation: Operation): boolean {
    const layer = this.#layers.at(-1);
    if (layer === undefined) throw new Error('no layer');
    const { path } = operation;
    for (const ancestor of ancestorsOf(path)) {
      const node = layer.get(ancestor);
      if (node !== undefined && node.type !== 'directory') return false;
    }
    const existing = layer.get(path);
    if (operation.do === 'whiteout') {
      if (existing !== undefined && existing.type !== 'whiteout') return false;
      this.#makeParents(layer, path);
      layer.set(path, newNode('whiteout', ''));
      return true;
    }
    if (operation.do === 'opaque') {
      if (existing !== undefined && existing.type !== 'directory') return false;
      // There it has nothing to hide, and containerd makes something else of it.
      if (this.#layers.length === 1) return false;
      this.#makeParents(layer, `${path}/x`);
      const directory = layer.get(path);
      if (directory !== undefined) directory.opaque = true;
      return true;
    }
    // What a directory leaves behind when its own layer replaces it is no matter of definition.
    if (existing?.type === 'directory' && operation.do !== 'directory') return false;
    let node = existing;
    if (operation.do === 'link') {
      node = this.#find(operation.to, this.#layers.toReversed());
      const above = [...ancestorsOf(path), path].includes(operation.to);
      if (node === undefined || node.type === 'directory' || above) return false;
    } else if (operation.do !== 'directory' || node?.type !== 'directory')
      node = newNode(operation.do, operation.do === 'file' ? `content ${operation.look}` : '');
    this.#makeParents(layer, path);
    layer.set(path, node);
    applyLook(node, operation.look);
    return true;
  }

  tree(): Tree {
    const tree = new Map<string, TreeEntry>();
    const groups = new Map<Node, string>();
    const layers = this.#layers.toReversed();
    tree.set('.', entryOf({ ...newNode('directory', ''), mode: 0o755, mtime: this.#createdSeconds }, '.'));
    const names = [...new Set(layers.flatMap((layer) => [...layer.keys()]))].sort(byComponents);
    for (const path of names) {
      const node = this.#find(path, layers);
      if (node === undefined) continue;
      if (!groups.has(node)) groups.set(node, path);
      tree.set(path, entryOf(node, node.type === 'directory' ? path : (groups.get(node) ?? path)));
    }
    return tree;
  }

  /** Source: fs/overlayfs/namei.c, ovl_lookup. */
  #find(path: string, layers: readonly Layer[]): Node | undefined {
    let candidates = layers;
    let found: Node | undefined;
    for (const at of [...ancestorsOf(path), path]) {
      const next: Layer[] = [];
      found = undefined;
      for (const layer of candidates) {
        const node = layer.get(at);
        if (node === undefined) continue;
        if (node.type !== 'directory') {
          if (found === undefined && node.type !== 'whiteout') found = node;
          break;
        }
        found ??= node;
        next.push(layer);
        if (node.opaque) break;
      }
      if (found === undefined) return undefined;
      if (found.type !== 'directory' && at !== path) return undefined;
      candidates = next;
    }
    return found;
  }

  #makeParents(layer: Layer, path: string): void {
    for (const ancestor of ancestorsOf(path))
      if (!layer.has(ancestor)) layer.set(ancestor, this.#implicit(ancestor));
  }

  /** containerd copies the attributes of the nearest layer's own directory, whether or not it can still be seen. */
  #implicit(path: string): Node {
    const fresh: Node = { ...newNode('directory', ''), mode: 0o755, mtime: this.#createdSeconds };
    for (const lower of this.#layers.slice(0, -1).reverse()) {
      const way = [...ancestorsOf(path), path].map((at) => lower.get(at));
      const stop = way.find((node) => node?.type !== 'directory');
      const node = way.at(-1);
      if (node?.type === 'directory') return { ...node, xattrs: new Map(node.xattrs), opaque: false };
      // A link leads nowhere, where nothing is; anything else is in the way.
      if (stop !== undefined && stop.type !== 'symlink') return fresh;
    }
    return fresh;
  }
}

/** The operation as a layer says it. */
export function itemOf(operation: Operation): TarItem {
  const { path } = operation;
  const slash = path.lastIndexOf('/') + 1;
  switch (operation.do) {
    case 'whiteout':
      return { name: `${path.slice(0, slash)}.wh.${path.slice(slash)}` };
    case 'opaque':
      return { name: `${path}/.wh..wh..opq` };
    case 'link':
      return { name: path, type: '1', linkName: operation.to, ...attributesOf(operation.look) };
    case 'symlink':
      return { name: path, type: '2', linkName: NOWHERE, ...attributesOf(operation.look) };
    case 'directory':
      return { name: `${path}/`, type: '5', ...attributesOf(operation.look) };
    case 'fifo':
      return { name: path, type: '6', ...attributesOf(operation.look) };
    case 'file':
      return { name: path, data: `content ${operation.look}`, ...attributesOf(operation.look) };
  }
}

function attributesOf(look: Look): Pick<TarItem, 'mode' | 'uid' | 'mtime' | 'pax'> {
  const xattrs =
    look % 3 === 0 ? { pax: [[`SCHILY.xattr.security.x${look % 2}`, String(look)]] as const } : {};
  return { mode: 0o700 + look, uid: look, mtime: 1_000_000 + look, ...xattrs };
}

function applyLook(node: Node, look: Look): void {
  const { mode, uid, mtime, pax } = attributesOf(look);
  node.mode = node.type === 'symlink' ? 0o777 : (mode ?? 0);
  node.uid = uid ?? 0;
  node.mtime = mtime ?? 0;
  for (const [key, value] of pax ?? [])
    node.xattrs.set(String(key).replace('SCHILY.xattr.', ''), String(value));
}

function newNode(type: Node['type'], data: string): Node {
  return { type, mode: 0, uid: 0, mtime: 0, xattrs: new Map(), data, opaque: false };
}

/** Only what the model knows; see {@link comparable}. */
function entryOf(node: Node, linkGroup: string): TreeEntry {
  return {
    type: node.type === 'whiteout' ? 'character' : node.type,
    mode: node.mode,
    uid: node.uid,
    gid: 0,
    sizeBytes: node.type === 'file' ? node.data.length : node.type === 'symlink' ? NOWHERE.length : 0,
    mtimeNanoseconds: BigInt(node.mtime) * 1_000_000_000n,
    device: undefined,
    linkTarget: node.type === 'symlink' ? NOWHERE : undefined,
    linkGroup,
    xattrs: new Map([...node.xattrs].map(([name, value]) => [name, Buffer.from(value).toString('base64')])),
    sha256: node.type === 'file' ? node.data : undefined,
  };
}

function* ancestorsOf(path: string): Generator<string> {
  for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1))
    yield path.slice(0, slash);
}

/** The order in which a walk meets names: `a/b` before `a.b`. */
function byComponents(left: string, right: string): number {
  const a = left.replaceAll('/', '\0');
  const b = right.replaceAll('/', '\0');
  return a < b ? -1 : a > b ? 1 : 0;
}
