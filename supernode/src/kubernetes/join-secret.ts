import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiServer } from '@drakkar/kubernetes';

/** What a host needs to come in. */
export interface Joining {
  /** `host:port/PEER` of each supernode. */
  readonly supernodes: readonly string[];
  readonly joinToken: string;
}

export interface JoinSecretModules {
  readonly api: ApiServer;
  readonly namespace: string;
  readonly name: string;
  joining(): Joining;
  failed(error: unknown): void;
}

const FIELD_MANAGER = 'drakkar-supernode';
const LOOK_MS = 5_000;
/** Somebody may have deleted or changed it. */
const AGAIN_MS = 60_000;

/** Has a Secret hold what pods of daemons mount to become members, as it is at the moment. Goes on until it is told not to; never throws. */
export async function keepJoinSecret(modules: JoinSecretModules, signal: AbortSignal): Promise<void> {
  const { api, namespace, name, joining, failed } = modules;
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets/${encodeURIComponent(name)}`;
  for (let told = ''; !signal.aborted; ) {
    const { supernodes, joinToken } = joining();
    const data = { supernodes: encoded(`${supernodes.join('\n')}\n`), joinToken: encoded(joinToken) };
    const now = JSON.stringify(data);
    try {
      if (now !== told || performance.now() - toldAtMs >= AGAIN_MS) {
        const body = { apiVersion: 'v1', kind: 'Secret', metadata: { name }, data };
        await api.request('PATCH', path, {
          ...{ body, signal, contentType: 'application/apply-patch+yaml' },
          query: { fieldManager: FIELD_MANAGER, force: true },
        });
        told = now;
        toldAtMs = performance.now();
      }
    } catch (error) {
      if (!signal.aborted) failed(error);
    }
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
  }
}

const encoded = (text: string): string => Buffer.from(text).toString('base64');
