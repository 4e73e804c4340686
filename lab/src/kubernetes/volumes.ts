import { chmod, chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ContainerOptions } from '../cri.ts';
import type { KubeletOptions } from './kubelet.ts';
import type { ClusterPod } from './nodes.ts';
import type { ContainerSpec, VolumeSpec } from './pod-spec.ts';

type Mount = NonNullable<ContainerOptions['mounts']>[number];

/** What the containers of a pod have mounted. */
export interface PodMounts {
  of(container: ContainerSpec): readonly Mount[];
}

const TOKEN_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount';
const PROPAGATION = { None: 0, HostToContainer: 1, Bidirectional: 2 } as const;

/** Makes the volumes of pods, as a kubelet does. */
export class Volumes {
  readonly #options: KubeletOptions;

  constructor(options: KubeletOptions) {
    this.#options = options;
  }

  async logsOf(uid: string): Promise<string> {
    return await this.#directory(uid, 'logs');
  }

  /** @throws where something is not there yet that the pod names */
  async of(pod: ClusterPod): Promise<PodMounts> {
    const places = new Map<string, string>();
    for (const volume of pod.spec.volumes ?? []) places.set(volume.name, await this.#make(pod, volume));
    const common: Mount[] = [{ containerPath: '/etc/hosts', hostPath: await this.#hosts(pod) }];
    const token = await this.#token(pod);
    if (token !== undefined) common.push({ containerPath: TOKEN_DIRECTORY, hostPath: token, readonly: true });
    return {
      of: ({ volumeMounts = [] }) => [
        ...common,
        ...volumeMounts.map(({ name, mountPath, readOnly = false, mountPropagation = 'None' }) => ({
          ...{ containerPath: mountPath, hostPath: places.get(name) ?? '', readonly: readOnly },
          propagation: PROPAGATION[mountPropagation],
        })),
      ],
    };
  }

  async #make({ metadata, spec }: ClusterPod, volume: VolumeSpec): Promise<string> {
    const { configMap, secret, hostPath, persistentVolumeClaim: claim } = volume;
    if (hostPath !== undefined) {
      await mkdir(this.#options.machine.pathOf(hostPath.path), { recursive: true });
      return hostPath.path;
    }
    const directory = await (claim === undefined
      ? this.#directory(metadata.uid, volume.name)
      : this.#directory('claims', claim.claimName));
    await chmod(directory, 0o777);
    const { fsGroup = 0 } = spec.securityContext ?? {};
    await chown(directory, 0, fsGroup);
    const [kind, name] =
      secret === undefined ? ['configmaps', configMap?.name] : ['secrets', secret.secretName];
    if (name === undefined) return directory;
    const { data = {} } = (await this.#get(`/api/v1/namespaces/${metadata.namespace}/${kind}/${name}`)) as {
      data?: Record<string, string>;
    };
    for (const [file, text] of Object.entries(data))
      await writeFile(join(directory, file), Buffer.from(text, secret === undefined ? 'utf8' : 'base64'));
    return directory;
  }

  async #hosts({ metadata }: ClusterPod): Promise<string> {
    const file = join(await this.#directory(metadata.uid, 'hosts'), 'hosts');
    const known = { localhost: '127.0.0.1', ...this.#options.hosts };
    await writeFile(
      file,
      Object.entries(known)
        .map(([name, address]) => `${address} ${name}\n`)
        .join(''),
    );
    return file;
  }

  /** What its service account proves itself with, where it has one and wants that. */
  async #token({ metadata, spec }: ClusterPod): Promise<string | undefined> {
    const { serviceAccountName: name = 'default', automountServiceAccountToken: isWanted = true } = spec;
    if (!isWanted || name === 'default') return undefined;
    const { plane } = this.#options;
    const path = `/api/v1/namespaces/${metadata.namespace}/serviceaccounts/${name}/token`;
    const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
    const { status, body } = await plane.ask('POST', path, request);
    if (status !== 201) throw new Error(`no token for ${name}: ${JSON.stringify(body)}`);
    const directory = await this.#directory(metadata.uid, 'token');
    const authority = join(dirname(plane.kubeconfig), 'ca.crt');
    await writeFile(join(directory, 'ca.crt'), await readFile(authority));
    await writeFile(join(directory, 'namespace'), metadata.namespace);
    await writeFile(join(directory, 'token'), (body as { status: { token: string } }).status.token);
    return directory;
  }

  async #get(path: string): Promise<unknown> {
    const { status, body } = await this.#options.plane.ask('GET', path);
    if (status !== 200) throw new Error(`${path}: ${status}`);
    return body;
  }

  async #directory(...names: string[]): Promise<string> {
    const path = join(this.#options.directory, ...names);
    await mkdir(path, { recursive: true });
    return path;
  }
}
