/**
 * Layers: from tar streams to the merged tree of an image, exactly as containerd's overlayfs snapshotter would show
 * it. Nothing touches a file system; file contents go to a {@link ContentSink} as they stream by.
 *
 * @example
 * ```ts
 * const stack = new LayerStack({ sink, createdSeconds: 1_700_000_000 });
 * for (const layer of layers) await stack.applyLayer(layer.digest, layer.uncompressed(), { signal });
 * write(stack.root);
 * ```
 *
 * @packageDocumentation
 */
export { DEFAULT_LAYER_LIMITS, type LayerLimits, MAX_NAME_BYTES } from './limits.ts';
export { cleanPath, filesBelow, nodeAt } from './paths.ts';
export { LayerStack, type LayerStackOptions } from './stack.ts';
export * from './tree.ts';
