import {
  credentialIn,
  type DockerConfig,
  type ImageReference,
  parseDockerAuths,
  parseDockerConfig,
  type RegistryCredential,
} from '@drakkar/protocol';
import { type ApiServer, isSubdomain, pathOf, StatusError } from '../cluster/index.ts';
import { Fresh } from './fresh.ts';

/** A secret by its name, as those who want its use name it. */
export interface SecretName {
  readonly namespace: string;
  readonly name: string;
}

/** As pods and service accounts name them, in their own namespace; what can be no name is left out. */
export const secretsIn = (
  namespace: string,
  references: readonly { readonly name?: string }[] = [],
): SecretName[] =>
  references.flatMap(({ name }) => (name !== undefined && isSubdomain(name) ? [{ namespace, name }] : []));

export interface SecretProblem {
  readonly reason: 'SecretNotFound' | 'SecretForbidden' | 'SecretWrongType' | 'SecretInvalid';
  readonly message: string;
}

/** What registries may be shown. */
export class PullSecrets {
  readonly #configs: readonly DockerConfig[];
  /** Why one of them can’t be used. */
  readonly problem: SecretProblem | undefined;

  constructor(configs: readonly DockerConfig[], problem: SecretProblem | undefined) {
    this.#configs = configs;
    this.problem = problem;
  }

  /** Of these, where there is something else that could not be had. */
  lacking(problem: SecretProblem | undefined): PullSecrets {
    return new PullSecrets(this.#configs, this.problem ?? problem);
  }

  of(image: Pick<ImageReference, 'registry' | 'repository'>): RegistryCredential | undefined {
    return credentialIn(this.#configs, image);
  }
}

interface Secret {
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

type Read = { readonly config: DockerConfig } | { readonly problem: SecretProblem };

/** What has changed is noticed after so long, */
const FRESH_MS = 30_000;
/** and what could not be used is looked at again sooner. */
const PROBLEM_MS = 5_000;
export const MAX_KEPT = 2_000;

export const lastsMs = (read: object): number => ('problem' in read ? PROBLEM_MS : FRESH_MS);

/** Source: Kubernetes, “Types of Secret”. */
const TYPES: Readonly<Record<string, { readonly key: string; parse(text: string): DockerConfig }>> = {
  'kubernetes.io/dockerconfigjson': { key: '.dockerconfigjson', parse: parseDockerConfig },
  'kubernetes.io/dockercfg': { key: '.dockercfg', parse: parseDockerAuths },
};

/** Reads secrets that somebody has named, and no others; what they hold is in memory alone. */
export class Secrets {
  readonly #api: Pick<ApiServer, 'request'>;
  readonly #fresh = new Fresh<Read>(lastsMs, MAX_KEPT);

  constructor(api: Pick<ApiServer, 'request'>) {
    this.#api = api;
  }

  /** @throws {@link StatusError} where the API server can’t be asked */
  async read(names: readonly SecretName[], signal: AbortSignal): Promise<PullSecrets> {
    const all = await Promise.all(names.map((name) => this.#one(name, signal)));
    const configs = all.flatMap((each) => ('config' in each ? [each.config] : []));
    return new PullSecrets(configs, all.flatMap((each) => ('problem' in each ? [each.problem] : []))[0]);
  }

  async #one(name: SecretName, signal: AbortSignal): Promise<Read> {
    return await this.#fresh.get(`${name.namespace}/${name.name}`, () => this.#ask(name, signal));
  }

  async #ask({ namespace, name }: SecretName, signal: AbortSignal): Promise<Read> {
    const which = `the secret ${namespace}/${name}`;
    const problem = (reason: SecretProblem['reason'], message: string): Read => ({
      problem: { reason, message },
    });
    try {
      const secret = await this.#api.request<Secret>(
        'GET',
        pathOf`/api/v1/namespaces/${namespace}/secrets/${name}`,
        { signal },
      );
      const type = TYPES[secret.type ?? ''];
      if (type === undefined) {
        const wanted = Object.keys(TYPES).join(' or ');
        return problem('SecretWrongType', `${which} is of the type ${secret.type}, and not ${wanted}`);
      }
      const text = secret.data?.[type.key];
      if (text === undefined) return problem('SecretInvalid', `${which} has no ${type.key}`);
      try {
        return { config: type.parse(Buffer.from(text, 'base64').toString('utf8')) };
      } catch {
        return problem('SecretInvalid', `${type.key} of ${which} is no configuration of Docker’s`);
      }
    } catch (error) {
      return { problem: problemOf(error, `secret ${namespace}/${name}`) };
    }
  }
}

/** Of what is not there, or may not be read. @throws what else has happened */
export function problemOf(error: unknown, what: string): SecretProblem {
  const code = error instanceof StatusError ? error.code : undefined;
  if (code === 404) return { reason: 'SecretNotFound', message: `there is no ${what}` };
  if (code !== 403) throw error;
  const message = `the ${what} may not be read; give this supernode the right to get it`;
  return { reason: 'SecretForbidden', message };
}
