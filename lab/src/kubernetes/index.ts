/** A real Kubernetes control plane. */
export {
  type ControlPlane,
  type ControlPlaneOptions,
  type Restartable,
  startControlPlane,
} from './control-plane.ts';
export { buildKubernetes } from './programs.ts';
