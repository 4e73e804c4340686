import type { ControlPlane } from './control-plane.ts';

const MERGE = 'application/merge-patch+json';

/** Gives a claim a volume, as a storage system does: no controller here has any. */
export async function bindClaim({ ask }: ControlPlane, namespace: string, name: string): Promise<void> {
  const spec = {
    ...{ capacity: { storage: '20Gi' }, accessModes: ['ReadWriteOnce'], claimRef: { namespace, name } },
    hostPath: { path: '/var/lib/disk' },
  };
  const volume = { apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: `of-${name}` }, spec };
  const path = `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${name}`;
  const bound = {
    metadata: { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } },
    spec: { volumeName: volume.metadata.name },
  };
  for (const answer of [
    await ask('POST', '/api/v1/persistentvolumes', volume),
    await ask('PATCH', path, bound, MERGE),
    await ask('PATCH', `${path}/status`, { status: { phase: 'Bound' } }, MERGE),
  ])
    if (answer.status >= 300) throw new Error(`${name}: ${JSON.stringify(answer.body)}`);
}
