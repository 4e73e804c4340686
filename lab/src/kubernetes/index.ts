/** A real Kubernetes control plane. */
export { Authority } from './certificates.ts';
export { bindClaim } from './claims.ts';
export {
  type ControlPlane,
  type ControlPlaneOptions,
  type Restartable,
  startControlPlane,
} from './control-plane.ts';
export { Kubelet, type KubeletOptions } from './kubelet.ts';
export { digestNamed, MemoryFleet } from './memory-fleet.ts';
export { type ClusterPod, type NodeOptions, type Nodes, startNodes } from './nodes.ts';
export { buildKubernetes } from './programs.ts';
export { type ApiFault, type ApiRequest, startUnrulyApi, type UnrulyApi } from './unruly-api.ts';
