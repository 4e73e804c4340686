import type { ContainerOptions } from '../cri.ts';
import type { ClusterPod } from './nodes.ts';
import type { ContainerSpec } from './pod-spec.ts';

/** Of the container alone, unless its pod has the host's. */
const OWN_PROCESSES = 1;

export function environmentOf(
  { metadata, spec }: ClusterPod,
  { env = [] }: ContainerSpec,
  apiServer: string,
): ReadonlyMap<string, string> {
  const { hostname, port } = new URL(apiServer);
  const fields: Readonly<Record<string, string>> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'spec.nodeName': spec.nodeName ?? '',
    'status.podIP': '127.0.0.1',
  };
  return new Map([
    ['KUBERNETES_SERVICE_HOST', hostname],
    ['KUBERNETES_SERVICE_PORT', port],
    ...env.map(
      ({ name, value, valueFrom }) =>
        [name, value ?? fields[valueFrom?.fieldRef?.fieldPath ?? ''] ?? ''] as const,
    ),
  ]);
}

/** With `$(NAME)` replaced by what that is. */
export const expanded = (text: string, environment: ReadonlyMap<string, string>): string =>
  text.replaceAll(/\$\((\w+)\)/g, (whole, name: string) => environment.get(name) ?? whole);

/** Who a container runs as, and what it may do: the pod's word where it says nothing itself. */
export function securityOf(
  { spec }: ClusterPod,
  { securityContext }: ContainerSpec,
): Pick<ContainerOptions, 'readonlyRootfs' | 'security' | 'processes'> {
  const context = { ...spec.securityContext, ...securityContext };
  const { runAsUser, runAsGroup, capabilities = {}, fsGroup } = context;
  return {
    readonlyRootfs: context.readOnlyRootFilesystem ?? false,
    ...(spec.hostPID === true ? {} : { processes: OWN_PROCESSES }),
    security: {
      privileged: context.privileged ?? false,
      noNewPrivs: context.allowPrivilegeEscalation === false,
      capabilities: {
        addCapabilities: [...(capabilities.add ?? [])],
        dropCapabilities: [...(capabilities.drop ?? [])],
      },
      ...(runAsUser === undefined ? {} : { runAsUser: { value: BigInt(runAsUser) } }),
      ...(runAsGroup === undefined ? {} : { runAsGroup: { value: BigInt(runAsGroup) } }),
      supplementalGroups: fsGroup === undefined ? [] : [BigInt(fsGroup)],
    },
  };
}
