/**
 * Drakkar in a Kubernetes cluster: images are resolved, built and brought to nodes because somebody has written a resource.
 *
 * - `resources/`  our kinds: their schemas, and what the API server is told of them
 * - `cluster/`    the API server, and what controllers need of it: lists that follow, a queue, leases, events
 * - `controller/` what our resources have hosts do
 *
 * @example
 * ```ts
 * import { connectApiServer, Events, followNodes, ImageSnapshots, Secrets } from '@drakkar/kubernetes';
 *
 * const api = connectApiServer({ kubeconfig: null, context: null });
 * const events = new Events(api, { component: 'drakkar-supernode', instance: hostname(), failed: () => {} });
 * const nodes = followNodes(api, log, () => snapshots.nodesChanged());
 * const snapshots = new ImageSnapshots({ api, fleet, secrets: new Secrets(api), events, nodes, log });
 * snapshots.start();
 * await nodes.run(signal);
 * ```
 *
 * @packageDocumentation
 */
export * from './cluster/index.ts';
export * from './controller/index.ts';
export * from './resources/index.ts';
