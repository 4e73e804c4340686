import type { TaskMessage } from '@drakkar/protocol';
import type { TaskReportInit } from './supernode-messages.ts';
import type { Supernodes } from './supernodes.ts';

/** Who does what the supernode has this host do. */
export interface TaskHandler {
  /** Also one that was begun before. @param traceparent of the trace to which it belongs; empty where there is none */
  begin(task: TaskMessage, traceparent: string): void;
  cancel(id: string): void;
}

/** Between the link to the supernode and who does what it says. */
export class ClusterTasks {
  #link: Pick<Supernodes, 'task' | 'firstPull'> | undefined;
  #handler: TaskHandler | undefined;

  begin(link: Pick<Supernodes, 'task' | 'firstPull'>): void {
    this.#link = link;
  }

  serve(handler: TaskHandler): void {
    this.#handler = handler;
  }

  task(task: TaskMessage, traceparent: string): void {
    this.#handler?.begin(task, traceparent);
  }

  cancel(id: string): void {
    this.#handler?.cancel(id);
  }

  /** An image without a snapshot was pulled. @returns whether the cluster decides what is done about it */
  firstPull(image: string, platform: string, sizeBytes: number): boolean {
    return this.#link?.firstPull(image, platform, sizeBytes) ?? false;
  }

  report(report: TaskReportInit): void {
    this.#link?.task(report);
  }
}
