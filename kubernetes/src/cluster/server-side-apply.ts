import { type ApiServer, type ClusterObject, isNotFound, type ResourcePath } from './contract.ts';

export interface Applied {
  /** Of its kind. */
  readonly path: ResourcePath;
  readonly apiVersion: string;
  readonly kind: string;
  /** Whose fields these are. */
  readonly fieldManager: string;
}

/**
 * Has fields of an object that there is be what they are to be, whoever else has fields of it; those that were applied before and are not any more go. Of one
 * that has gone nothing is said, nor made anew: with its uid no other of its name is meant.
 *
 * @param what its status, or what it has in its metadata
 * @returns the object as it is then, where there is one
 * @throws `StatusError`
 */
export async function applyTo<T extends ClusterObject>(
  api: Pick<ApiServer, 'request'>,
  { path, apiVersion, kind, fieldManager }: Applied,
  { metadata: { name, uid } }: T,
  what: { readonly status: unknown } | { readonly metadata: object },
  signal: AbortSignal,
): Promise<T | undefined> {
  const isStatus = 'status' in what;
  const metadata = { ...(isStatus ? {} : what.metadata), name, uid };
  const body = { apiVersion, kind, metadata, ...(isStatus ? { status: what.status } : {}) };
  const query = { fieldManager, force: true };
  try {
    return await api.request<T>('PATCH', `${path}/${encodeURIComponent(name)}${isStatus ? '/status' : ''}`, {
      ...{ body, query, contentType: 'application/apply-patch+yaml', signal },
    });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return undefined;
  }
}
