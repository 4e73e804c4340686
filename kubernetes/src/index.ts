/**
 * Drakkar in a Kubernetes cluster: images are resolved, built and brought to nodes because somebody has written a resource.
 *
 * - `resources/` our kinds: their schemas, and what the API server is told of them
 *
 * @example
 * ```ts
 * import { definitionOf, KINDS } from '@drakkar/kubernetes';
 *
 * const definitions = KINDS.map(definitionOf);
 * ```
 *
 * @packageDocumentation
 */
export * from './resources/index.ts';
