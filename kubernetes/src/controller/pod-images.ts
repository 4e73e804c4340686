import {
  type ApiServer,
  type ClusterObject,
  METADATA_ONLY,
  Reflector,
  type ResourcePath,
} from '../cluster/index.ts';
import type { ControllerLog } from './contract.ts';
import type { SecretName } from './secrets.ts';

/** What is, or is about to be, started somewhere. */
export interface Workload {
  readonly namespace: string;
  readonly images: readonly string[];
  /** That it names itself. */
  readonly pullSecrets: readonly SecretName[];
  readonly serviceAccount: string;
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
  readonly #workloads: readonly Reflector<Workload>[];
  readonly #namespaces: Reflector<Readonly<Record<string, string>>>;

  /** @param changed told of each that has come, or is of something else than before */
  constructor(api: ApiServer, log: ControllerLog, changed: (workload: Workload) => void) {
    const follow = (path: ResourcePath, specOf: (object: ClusterObject) => PodSpec, fieldSelector?: string) =>
      new Reflector<Workload>(api, {
        path,
        ...(fieldSelector === undefined ? {} : { fieldSelector }),
        keep: (object) => workloadOf(object, specOf(object)),
        changed: (now, before) => {
          if (now !== undefined && now.images.join() !== before?.images.join()) changed(now);
        },
        failed: (error) => log.warn({ error, path }, 'what is started can’t be followed at the moment'),
      });
    this.#workloads = [
      follow('/api/v1/pods', (pod) => (pod as Pod).spec ?? {}, WAITING),
      follow('/apis/apps/v1/deployments', (each) => (each as Deployment).spec?.template?.spec ?? {}),
    ];
    this.#namespaces = new Reflector(api, {
      path: '/api/v1/namespaces',
      accept: METADATA_ONLY,
      keep: ({ metadata: { labels = {} } }) => labels,
      changed: () => {},
      failed: (error) => log.warn({ error }, 'namespaces can’t be followed at the moment'),
    });
  }

  /** All that there are. */
  *all(): Generator<Workload> {
    for (const reflector of this.#workloads) yield* reflector.objects.values();
  }

  labelsOf(namespace: string): Readonly<Record<string, string>> {
    return this.#namespaces.objects.get(namespace) ?? {};
  }

  /** Goes on until it is told not to; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#workloads, this.#namespaces].map((each) => each.run(signal)));
  }
}

function workloadOf({ metadata: { namespace = '' } }: ClusterObject, spec: PodSpec): Workload {
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const images = new Set(containers.flatMap(({ image }) => image ?? []).slice(0, MAX_IMAGES));
  return {
    namespace,
    images: [...images].sort(),
    pullSecrets: (spec.imagePullSecrets ?? []).flatMap(({ name }) => (name ? [{ namespace, name }] : [])),
    serviceAccount: spec.serviceAccountName ?? 'default',
  };
}
