import { setTimeout as delay } from 'node:timers/promises';
import { type ContainerOptions, outputOf, type Pod } from '../cri.ts';
import type { Machine } from '../machine.ts';
import type { ControlPlane } from './control-plane.ts';
import type { ClusterPod, PodEvents } from './nodes.ts';
import type { ContainerSpec } from './pod-spec.ts';
import { environmentOf, expanded, securityOf } from './pod-translation.ts';
import { type PodMounts, Volumes } from './volumes.ts';

export interface KubeletOptions {
  /** The node's name. */
  readonly node: string;
  readonly plane: ControlPlane;
  readonly machine: Machine;
  /** What pods find in their `/etc/hosts`: addresses by name. No name server knows services here. */
  readonly hosts: Readonly<Record<string, string>>;
  /** Where volumes and logs are. */
  readonly directory: string;
}

interface Running {
  readonly ending: AbortController;
  readonly containers: Map<string, string>;
  sandbox?: Pod;
  starting?: Promise<void>;
}

const AGAIN_MS = 500;
const POLL_MS = 50;
const GRACE_SECONDS = 30;

/**
 * Runs a node's pods as containers of a machine, through CRI: volumes, init containers in their order, users, capabilities, what a service account proves itself
 * with. What fails is tried again. All pods have the machine's network; nothing is probed, and what ends is not started again.
 */
export class Kubelet implements PodEvents {
  /** What has been tried again, and why. */
  readonly failures: string[] = [];
  readonly #options: KubeletOptions;
  readonly #volumes: Volumes;
  readonly #pods = new Map<string, Running>();

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#volumes = new Volumes(options);
  }

  async started(pod: ClusterPod): Promise<void> {
    if (pod.spec.nodeName !== this.#options.node) return;
    const running: Running = { ending: new AbortController(), containers: new Map() };
    this.#pods.set(pod.metadata.uid, running);
    running.starting = this.#start(pod, running).catch((error: unknown) => {
      if (!running.ending.signal.aborted) throw error;
    });
    await running.starting;
  }

  async stopped({ metadata }: ClusterPod): Promise<void> {
    const running = this.#pods.get(metadata.uid);
    if (running === undefined) return;
    running.ending.abort();
    await running.starting;
    const { cri } = this.#options.machine;
    const grace = metadata.deletionGracePeriodSeconds ?? GRACE_SECONDS;
    await Promise.all([...running.containers.values()].map((id) => cri.removeContainer(id, grace)));
    if (running.sandbox !== undefined) await cri.removePod(running.sandbox);
    this.#pods.delete(metadata.uid);
  }

  /** What a container has said until now. */
  async output({ metadata }: ClusterPod, container: string): Promise<string> {
    const sandbox = this.#pods.get(metadata.uid)?.sandbox;
    return sandbox === undefined ? '' : await outputOf(sandbox, container);
  }

  async #start(pod: ClusterPod, running: Running): Promise<void> {
    const { signal } = running.ending;
    const again = async <Result>(what: (attempt: number) => Promise<Result>): Promise<Result> => {
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await what(attempt);
        } catch (error) {
          this.failures.push(`${pod.metadata.name}: ${error}`);
          await delay(AGAIN_MS, undefined, { signal });
        }
      }
    };
    const mounts = await again(() => this.#volumes.of(pod));
    const sandbox = await again(() => this.#sandbox(pod));
    running.sandbox = sandbox;
    for (const container of pod.spec.initContainers ?? [])
      await again(async (attempt) => {
        const options = await this.#containerOf(pod, container, mounts);
        await this.#runToItsEnd(sandbox, { ...options, attempt }, signal);
      });
    for (const container of pod.spec.containers)
      await again(async (attempt) => {
        const options = await this.#containerOf(pod, container, mounts);
        const id = await this.#options.machine.cri.startContainer(sandbox, { ...options, attempt });
        running.containers.set(container.name, id);
      });
  }

  async #sandbox({ metadata, spec }: ClusterPod): Promise<Pod> {
    return await this.#options.machine.cri.runPod({
      ...{ name: metadata.name, namespace: metadata.namespace, uid: metadata.uid },
      logDirectory: await this.#volumes.logsOf(metadata.uid),
      runtime: spec.runtimeClassName === undefined ? '' : await this.#handlerOf(spec.runtimeClassName),
      hostPid: spec.hostPID ?? false,
      privileged: spec.containers.some(({ securityContext }) => securityContext?.privileged),
    });
  }

  async #handlerOf(runtimeClass: string): Promise<string> {
    const path = `/apis/node.k8s.io/v1/runtimeclasses/${runtimeClass}`;
    const { status, body } = await this.#options.plane.ask('GET', path);
    if (status !== 200) throw new Error(`there is no runtime class ${runtimeClass}`);
    return (body as { handler: string }).handler;
  }

  async #containerOf(
    pod: ClusterPod,
    container: ContainerSpec,
    mounts: PodMounts,
  ): Promise<ContainerOptions> {
    const { cri } = this.#options.machine;
    const { name, image, command = [], args = [] } = container;
    if (!(await cri.hasImage(image))) await cri.pull(image, undefined, pod.metadata.annotations);
    const environment = environmentOf(pod, container, this.#options.plane.url);
    const inside = (text: string) => expanded(text, environment);
    return {
      ...{ name, image, command: command.map(inside), args: args.map(inside) },
      envs: [...environment].map(([key, value]) => ({ key, value })),
      mounts: mounts.of(container),
      ...securityOf(pod, container),
    };
  }

  async #runToItsEnd(sandbox: Pod, options: ContainerOptions, signal: AbortSignal): Promise<void> {
    const { cri } = this.#options.machine;
    const id = await cri.startContainer(sandbox, options);
    let code: number | undefined;
    while (code === undefined) {
      await delay(POLL_MS, undefined, { signal });
      // It may be containerd that it ends.
      code = await cri.exitCode(id).catch(() => undefined);
    }
    const said = await outputOf(sandbox, options.name);
    await cri.removeContainer(id);
    if (code !== 0) throw new Error(`${options.name} has ended with ${code}: ${said}`);
  }
}
