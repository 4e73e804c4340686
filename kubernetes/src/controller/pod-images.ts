import { isDeepStrictEqual } from 'node:util';
import {
  type ApiServer,
  type ClusterObject,
  METADATA_ONLY,
  Reflector,
  type ResourcePath,
  type StatusError,
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
  /** Something else is forbidden than before. */
  permitted(): void;
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

const PODS = '/api/v1/pods';
const DEPLOYMENTS = '/apis/apps/v1/deployments';
const NAMESPACES = '/api/v1/namespaces';
const MAX_IMAGES = 64;
/** Pods that are started already have their images. */
const WAITING = 'status.phase=Pending';

/** Follows which images pods that wait, and Deployments, are of, and the labels of namespaces. */
export class PodImages {
  readonly #modules: PodImagesModules;
  readonly #workloads: ReadonlyMap<ResourcePath, Reflector<Workload>>;
  readonly #namespaces: Reflector<Readonly<Record<string, string>>>;
  readonly #forbidden = new Set<ResourcePath>();

  constructor(modules: PodImagesModules) {
    const { api, changed, relabelled } = modules;
    this.#modules = modules;
    const workloads = (path: ResourcePath, specOf: (object: ClusterObject) => PodSpec) =>
      new Reflector<Workload>(api, {
        ...this.#following(path),
        ...(path === PODS ? { fieldSelector: WAITING } : {}),
        keep: (object) => workloadOf(object, specOf(object)),
        changed: (now, before, name) => {
          if (!isDeepStrictEqual(now, before)) changed(`${path} ${name}`);
        },
      });
    this.#workloads = new Map([
      [PODS, workloads(PODS, (pod) => (pod as Pod).spec ?? {})],
      [DEPLOYMENTS, workloads(DEPLOYMENTS, (each) => (each as Deployment).spec?.template?.spec ?? {})],
    ]);
    this.#namespaces = new Reflector(api, {
      ...this.#following(NAMESPACES),
      accept: METADATA_ONLY,
      keep: ({ metadata: { labels = {} } }) => labels,
      changed: (now, before, name) => {
        if (now !== undefined && !isDeepStrictEqual(now, before)) relabelled(name);
      },
    });
  }

  /** What may not be followed. */
  get forbidden(): string[] {
    return [...this.#forbidden].map((path) => path.replace(/.*\//, ''));
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

  #following(path: ResourcePath) {
    const { log, permitted } = this.#modules;
    return {
      path,
      followed: () => {
        if (this.#forbidden.delete(path)) permitted();
      },
      failed: (error: StatusError) => {
        log.warn({ error, path }, 'what is started can’t be followed at the moment');
        if (error.code !== 403 || this.#forbidden.has(path)) return;
        this.#forbidden.add(path);
        permitted();
      },
    };
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
