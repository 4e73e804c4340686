import { type ApiServer, pathOf } from '../cluster/index.ts';
import { Fresh } from './fresh.ts';
import { lastsMs, MAX_KEPT, problemOf, type SecretName, type SecretProblem, secretsIn } from './secrets.ts';

export interface AccountSecrets {
  readonly secrets: readonly SecretName[];
  /** Why it is not known which. */
  readonly problem?: SecretProblem;
}

interface ServiceAccount {
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
}

/** Knows the pull secrets that service accounts name. */
export class ServiceAccounts {
  readonly #api: Pick<ApiServer, 'request'>;
  readonly #fresh = new Fresh<AccountSecrets>(lastsMs, MAX_KEPT);

  constructor(api: Pick<ApiServer, 'request'>) {
    this.#api = api;
  }

  /** @throws `StatusError` where the API server can’t be asked */
  async secretsOf(namespace: string, name: string, signal: AbortSignal): Promise<AccountSecrets> {
    return await this.#fresh.get(`${namespace}/${name}`, async () => {
      const path = pathOf`/api/v1/namespaces/${namespace}/serviceaccounts/${name}`;
      try {
        const { imagePullSecrets } = await this.#api.request<ServiceAccount>('GET', path, { signal });
        return { secrets: secretsIn(namespace, imagePullSecrets) };
      } catch (error) {
        return { secrets: [], problem: problemOf(error, `service account ${namespace}/${name}`) };
      }
    });
  }
}
