import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { grpcMethodsOf } from '@drakkar/protocol';
import { Client, credentials } from '@grpc/grpc-js';
import {
  type ContainerStatus,
  type ContainerStatusResponse,
  type CreateContainerRequestSchema,
  type CreateContainerResponse,
  ImageService,
  type ImageStatusResponse,
  type PullImageResponse,
  type RunPodSandboxResponse,
  RuntimeService,
} from './messages/cri_pb.ts';

const RUNNING = 1;
const EXITED = 2;
/** `NODE` of `NamespaceMode`: the host's own. */
const HOST_NAMESPACE = 2;
const POLL_MS = 20;
const CALL_MS = 120_000;

export interface PodOptions {
  readonly name: string;
  /** Where what its containers say goes. */
  readonly logDirectory: string;
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
  readonly logDirectory: string;
}

/** What a kubelet would be to a containerd. Source: `k8s.io/cri-api`, `runtime.v1`. */
export class Cri implements Disposable {
  readonly #client: Client;
  readonly #methods = { ...grpcMethodsOf(RuntimeService), ...grpcMethodsOf(ImageService) };

  constructor(address: string) {
    this.#client = new Client(`unix:${address}`, credentials.createInsecure());
  }

  /** @returns the image's id */
  async pull(image: string, auth?: Login): Promise<string> {
    const { imageRef } = await this.#call<PullImageResponse>('pullImage', { image: { image }, auth });
    return imageRef;
  }

  async hasImage(image: string): Promise<boolean> {
    const { image: found } = await this.#call<ImageStatusResponse>('imageStatus', { image: { image } });
    return found !== undefined;
  }

  async removeImage(image: string): Promise<void> {
    await this.#call('removeImage', { image: { image } });
  }

  async runPod({ name, logDirectory }: PodOptions): Promise<Pod> {
    const namespaceOptions = { network: HOST_NAMESPACE };
    const config: PodConfig = {
      metadata: { name, uid: name, namespace: 'default', attempt: 0 },
      logDirectory,
      linux: { securityContext: { namespaceOptions } },
    };
    const { podSandboxId } = await this.#call<RunPodSandboxResponse>('runPodSandbox', { config });
    return { id: podSandboxId, config, logDirectory };
  }

  async removePod({ id }: Pod): Promise<void> {
    await this.#call('stopPodSandbox', { podSandboxId: id });
    await this.#call('removePodSandbox', { podSandboxId: id });
  }

  /** @returns its id */
  async startContainer(
    pod: Pod,
    { name, image, command = [], readonlyRootfs = false }: ContainerOptions,
  ): Promise<string> {
    const { containerId } = await this.#call<CreateContainerResponse>('createContainer', {
      podSandboxId: pod.id,
      sandboxConfig: pod.config,
      config: {
        metadata: { name, attempt: 0 },
        image: { image },
        command: [...command],
        logPath: `${name}.log`,
        linux: {
          securityContext: { namespaceOptions: { network: HOST_NAMESPACE }, readonlyRootfs },
        },
      },
    });
    await this.#call('startContainer', { containerId });
    return containerId;
  }

  async removeContainer(containerId: string): Promise<void> {
    await this.#call('stopContainer', { containerId, timeout: 0n });
    await this.#call('removeContainer', { containerId });
  }

  async isRunning(containerId: string): Promise<boolean> {
    return (await this.#status(containerId)).state === RUNNING;
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
    this.#client.close();
  }

  async #status(containerId: string): Promise<ContainerStatus> {
    const { status } = await this.#call<ContainerStatusResponse>('containerStatus', { containerId });
    if (status === undefined) throw new Error(`containerd says nothing of ${containerId}`);
    return status;
  }

  #call<Answer>(name: string, request: object): Promise<Answer> {
    const method = this.#methods[name];
    if (method === undefined) throw new Error(`there is no call ${name}`);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        (message: object) => method.requestSerialize(message as never),
        method.responseDeserialize,
        request,
        { deadline: Date.now() + CALL_MS },
        (error, answer) => (error === null ? resolve(answer as Answer) : reject(error)),
      );
    });
  }
}

/** What a container has said until now, without the times and the names of streams in front of each line. */
export async function outputOf({ logDirectory }: Pod, name: string): Promise<string> {
  const log = await readFile(join(logDirectory, `${name}.log`), 'utf8').catch(() => '');
  return log.replaceAll(/^\S+ std(?:out|err) [FP] /gm, '');
}
