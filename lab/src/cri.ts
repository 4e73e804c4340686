import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { GrpcClient } from '@drakkar/containerd';
import {
  type ContainerStatus,
  type CreateContainerRequestSchema,
  ImageService,
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
}

export interface ContainerOptions {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly readonlyRootfs?: boolean;
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

  /** @returns the image's id */
  async pull(image: string, auth?: Login): Promise<string> {
    const { imageRef } = await this.#client.call(images.pullImage, { image: { image }, auth });
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

  async runPod({ name, logDirectory, hostId }: PodOptions): Promise<Pod> {
    const namespaceOptions = { network: HOST_NAMESPACE, ...userNamespace(hostId) };
    const config: PodConfig = {
      metadata: { name, uid: name, namespace: 'default', attempt: 0 },
      logDirectory,
      linux: { securityContext: { namespaceOptions } },
    };
    const { podSandboxId } = await this.#client.call(runtime.runPodSandbox, { config });
    return { id: podSandboxId, config, namespaceOptions, logDirectory };
  }

  async removePod({ id }: Pod): Promise<void> {
    await this.#client.call(runtime.stopPodSandbox, { podSandboxId: id });
    await this.#client.call(runtime.removePodSandbox, { podSandboxId: id });
  }

  /** @returns its id */
  async startContainer(
    pod: Pod,
    { name, image, command = [], readonlyRootfs = false }: ContainerOptions,
  ): Promise<string> {
    const { containerId } = await this.#client.call(runtime.createContainer, {
      podSandboxId: pod.id,
      sandboxConfig: pod.config,
      config: {
        metadata: { name, attempt: 0 },
        image: { image },
        command: [...command],
        logPath: `${name}.log`,
        linux: {
          securityContext: { namespaceOptions: pod.namespaceOptions, readonlyRootfs },
        },
      },
    });
    await this.#client.call(runtime.startContainer, { containerId });
    return containerId;
  }

  async removeContainer(containerId: string): Promise<void> {
    await this.#client.call(runtime.stopContainer, { containerId, timeout: 0n });
    await this.#client.call(runtime.removeContainer, { containerId });
  }

  async isRunning(containerId: string): Promise<boolean> {
    return (await this.#status(containerId)).state === RUNNING;
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
