import { isDeepStrictEqual } from 'node:util';
import {
  type ApiServer,
  type ClusterObject,
  METADATA_ONLY,
  Reflector,
  type ResourcePath,
} from '../cluster/index.ts';
import type { ControllerLog } from './contract.ts';
import { type SecretName, secretsIn } from './secrets.ts';

/** What is, or is about to be, started somewhere. */
export interface Workload {
  readonly namespace: string;
  readonly images: readonly string[];
  /** That it names itself. */
  readonly pullSecrets: readonly SecretName[];
  readonly serviceAccount: string;
}

export interface PodImagesModules {
  readonly api: ApiServer;
  readonly log: ControllerLog;
  /** Told of each that has come, gone, or is another than before. */
  changed(key: string): void;
  /** A namespace has come, or has other labels. */
  relabelled(namespace: string): void;
}

interface PodSpec {
  readonly containers?: readonly { readonly image?: string }[];
  readonly initContainers?: readonly { readonly image?: string }[];
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
  readonly serviceAccountName?: string;
}

interface Pod extends ClusterObject {
  readonly spec?: PodSpec;
}
interface Deployment extends ClusterObject {
  readonly spec?: { readonly template?: { readonly spec?: PodSpec } };
}

const MAX_IMAGES = 64;
/** Pods that are started already have their images. */
const WAITING = 'status.phase=Pending';

/** Follows which images pods that wait, and Deployments, are of, and the labels of namespaces. */
export class PodImages {
  readonly #workloads = new Map<ResourcePath, Reflector<Workload>>();
  readonly #namespaces: Reflector<Readonly<Record<string, string>>>;

  constructor({ api, log, changed, relabelled }: PodImagesModules) {
    const follow = (path: ResourcePath, specOf: (object: ClusterObject) => PodSpec, fieldSelector?: string) =>
      this.#workloads.set(
        path,
        new Reflector<Workload>(api, {
          path,
          ...(fieldSelector === undefined ? {} : { fieldSelector }),
          keep: (object) => workloadOf(object, specOf(object)),
          changed: (now, before, name) => {
            if (!isDeepStrictEqual(now, before)) changed(`${path} ${name}`);
          },
          failed: (error) => log.warn({ error, path }, 'what is started can’t be followed at the moment'),
        }),
      );
    follow('/api/v1/pods', (pod) => (pod as Pod).spec ?? {}, WAITING);
    follow('/apis/apps/v1/deployments', (each) => (each as Deployment).spec?.template?.spec ?? {});
    this.#namespaces = new Reflector(api, {
      path: '/api/v1/namespaces',
      accept: METADATA_ONLY,
      keep: ({ metadata: { labels = {} } }) => labels,
      changed: (now, before, name) => {
        if (now !== undefined && !isDeepStrictEqual(now, before)) relabelled(name);
      },
      failed: (error) => log.warn({ error }, 'namespaces can’t be followed at the moment'),
    });
  }

  /** Of all that there are. */
  *keys(): Generator<string> {
    for (const [path, { objects }] of this.#workloads)
      for (const name of objects.keys()) yield `${path} ${name}`;
  }

  get(key: string): Workload | undefined {
    const [path, name = ''] = key.split(' ');
    return this.#workloads.get(path as ResourcePath)?.objects.get(name);
  }

  labelsOf(namespace: string): Readonly<Record<string, string>> {
    return this.#namespaces.objects.get(namespace) ?? {};
  }

  /** Goes on until it is told not to; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#workloads.values(), this.#namespaces].map((each) => each.run(signal)));
  }
}

function workloadOf({ metadata: { namespace = '' } }: ClusterObject, spec: PodSpec): Workload {
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const images = new Set(containers.flatMap(({ image }) => image ?? []).slice(0, MAX_IMAGES));
  return {
    namespace,
    images: [...images].sort(),
    pullSecrets: secretsIn(namespace, spec.imagePullSecrets),
    serviceAccount: spec.serviceAccountName ?? 'default',
  };
}
