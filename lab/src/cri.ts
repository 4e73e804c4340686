import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { GrpcClient } from '@drakkar/containerd';
import {
  type ContainerStatus,
  type CreateContainerRequestSchema,
  ImageService,
  type MountSchema,
  type NamespaceOptionSchema,
  RuntimeService,
} from './messages/cri_pb.ts';

const RUNNING = 1;
const EXITED = 2;
/** `NODE` of `NamespaceMode`: the host's own. */
const HOST_NAMESPACE = 2;
const POLL_MS = 20;
/** As many as Kubernetes gives each pod. */
const NAMESPACE_IDS = 65_536;
const FIRST_OUTPUT_MS = 60_000;
const FIRST_OUTPUT_POLL_MS = 2;

export interface PodOptions {
  readonly name: string;
  /** Where what its containers say goes. */
  readonly logDirectory: string;
  /** In a user namespace of its own, whose root is this one of the host. */
  readonly hostId?: number;
  /** Of Kubernetes; `default` where absent. */
  readonly namespace?: string;
  readonly uid?: string;
  /** Of containerd's configuration; its usual one where absent. */
  readonly runtime?: string;
  /** Sees the processes of the host. */
  readonly hostPid?: boolean;
  /** Containers in it may be privileged. */
  readonly privileged?: boolean;
}

export interface ContainerOptions {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly envs?: readonly { readonly key: string; readonly value: string }[];
  readonly mounts?: readonly MessageInitShape<typeof MountSchema>[];
  readonly readonlyRootfs?: boolean;
  /** Whose processes it sees, as `NamespaceMode` has it: those of its pod where absent. */
  readonly processes?: number;
  /** How often it has been started before. */
  readonly attempt?: number;
  /** Who it runs as, and what it may do. */
  readonly security?: ContainerSecurity;
}

export interface ContainerSecurity {
  readonly privileged: boolean;
  readonly noNewPrivs: boolean;
  readonly capabilities: { readonly addCapabilities: string[]; readonly dropCapabilities: string[] };
  readonly runAsUser?: { readonly value: bigint };
  readonly runAsGroup?: { readonly value: bigint };
  readonly supplementalGroups: bigint[];
}

export interface Login {
  readonly username: string;
  readonly password: string;
}

type PodConfig = NonNullable<MessageInitShape<typeof CreateContainerRequestSchema>['sandboxConfig']>;

/** A pod on the host's network, which needs no CNI. */
export interface Pod {
  readonly id: string;
  readonly config: PodConfig;
  readonly namespaceOptions: MessageInitShape<typeof NamespaceOptionSchema>;
  readonly logDirectory: string;
}

const { method: runtime } = RuntimeService;
const { method: images } = ImageService;

/** What a kubelet would be to a containerd. Source: `k8s.io/cri-api`, `runtime.v1`. */
export class Cri implements Disposable {
  readonly #client: GrpcClient;

  constructor(address: string) {
    this.#client = new GrpcClient(address);
  }

  /**
   * @param annotations of the pod for which it is
   * @returns the image's id
   */
  async pull(
    image: string,
    auth?: Login,
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const request = { image: { image }, auth, sandboxConfig: { annotations } };
    const { imageRef } = await this.#client.call(images.pullImage, request);
    return imageRef;
  }

  async hasImage(image: string): Promise<boolean> {
    const { image: found } = await this.#client.call(images.imageStatus, {
      image: { image },
    });
    return found !== undefined;
  }

  async removeImage(image: string): Promise<void> {
    await this.#client.call(images.removeImage, { image: { image } });
  }

  async runPod({
    name,
    logDirectory,
    hostId,
    namespace = 'default',
    uid = name,
    runtime: runtimeHandler = '',
    hostPid = false,
    privileged = false,
  }: PodOptions): Promise<Pod> {
    const pid = hostPid ? { pid: HOST_NAMESPACE } : {};
    const namespaceOptions = { network: HOST_NAMESPACE, ...pid, ...userNamespace(hostId) };
    const config: PodConfig = {
      metadata: { name, uid, namespace, attempt: 0 },
      logDirectory,
      linux: { securityContext: { namespaceOptions, privileged } },
    };
    const { podSandboxId } = await this.#client.call(runtime.runPodSandbox, { config, runtimeHandler });
    return { id: podSandboxId, config, namespaceOptions, logDirectory };
  }

  async removePod({ id }: Pod): Promise<void> {
    await this.#client.call(runtime.stopPodSandbox, { podSandboxId: id });
    await this.#client.call(runtime.removePodSandbox, { podSandboxId: id });
  }

  /** @returns its id */
  async startContainer(
    pod: Pod,
    {
      name,
      image,
      command = [],
      args = [],
      envs = [],
      mounts = [],
      attempt = 0,
      processes,
      readonlyRootfs = false,
      security,
    }: ContainerOptions,
  ): Promise<string> {
    const seen = processes === undefined ? {} : { pid: processes };
    const { containerId } = await this.#client.call(runtime.createContainer, {
      podSandboxId: pod.id,
      sandboxConfig: pod.config,
      config: {
        metadata: { name, attempt },
        image: { image },
        command: [...command],
        args: [...args],
        envs: [...envs],
        mounts: [...mounts],
        logPath: `${name}.log`,
        linux: {
          securityContext: {
            ...security,
            namespaceOptions: { ...pod.namespaceOptions, ...seen },
            readonlyRootfs,
          },
        },
      },
    });
    await this.#client.call(runtime.startContainer, { containerId });
    return containerId;
  }

  /** @param graceSeconds between SIGTERM and SIGKILL */
  async removeContainer(containerId: string, graceSeconds = 0): Promise<void> {
    const timeout = BigInt(graceSeconds);
    await this.#client.call(runtime.stopContainer, { containerId, timeout });
    await this.#client.call(runtime.removeContainer, { containerId });
  }

  async isRunning(containerId: string): Promise<boolean> {
    return (await this.#status(containerId)).state === RUNNING;
  }

  /** Of one that has ended. */
  async exitCode(containerId: string): Promise<number | undefined> {
    const { state, exitCode } = await this.#status(containerId);
    return state === EXITED ? exitCode : undefined;
  }

  /** How many of a pod's containers have ended. */
  async ended({ id }: Pod): Promise<number> {
    const filter = { podSandboxId: id };
    const { containers } = await this.#client.call(runtime.listContainers, { filter });
    return containers.filter(({ state }) => state === EXITED).length;
  }

  /** Runs a container to its end. @throws with what it said, unless it ends well */
  async run(pod: Pod, options: ContainerOptions): Promise<string> {
    const id = await this.startContainer(pod, options);
    let status = await this.#status(id);
    while (status.state !== EXITED) {
      await delay(POLL_MS);
      status = await this.#status(id);
    }
    const output = await outputOf(pod, options.name);
    await this.removeContainer(id);
    if (status.exitCode !== 0)
      throw new Error(`${options.name} ended with ${status.exitCode} ${status.reason}: ${output}`);
    return output;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  async #status(containerId: string): Promise<ContainerStatus> {
    const { status } = await this.#client.call(runtime.containerStatus, { containerId });
    if (status === undefined) throw new Error(`containerd says nothing of ${containerId}`);
    return status;
  }
}

function userNamespace(hostId: number | undefined): MessageInitShape<typeof NamespaceOptionSchema> {
  if (hostId === undefined) return {};
  const ids = [{ hostId, containerId: 0, length: NAMESPACE_IDS }];
  return { usernsOptions: { mode: 0, uids: ids, gids: ids } };
}

/** What a container says first, as soon as it does. @throws where it says nothing within a minute */
export async function firstOutputOf(pod: Pod, name: string): Promise<string> {
  const signal = AbortSignal.timeout(FIRST_OUTPUT_MS);
  for (;;) {
    const output = await outputOf(pod, name);
    if (output !== '') return output;
    await delay(FIRST_OUTPUT_POLL_MS, undefined, { signal });
  }
}

/** What a container has said until now, without the times and the names of streams in front of each line. */
export async function outputOf({ logDirectory }: Pod, name: string): Promise<string> {
  const log = await readFile(join(logDirectory, `${name}.log`), 'utf8').catch(() => '');
  return log.replaceAll(/^\S+ std(?:out|err) [FP] /gm, '');
}
