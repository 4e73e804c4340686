/** What a crowd is told on its command line and says on its standard output. */
export interface CrowdOrders {
  readonly supernode: string;
  readonly joinToken: string;
  readonly hosts: number;
  readonly directory: string;
}

export interface CrowdReport {
  readonly up: number;
  /** From a `Want` to its `Candidates`. */
  readonly answerMs: readonly number[];
}

/** What each task of a crowd's host is said to have brought. */
export const TASK_BYTES = 100_000_000;

/** Of an image: what a host asks for at a time. */
export const LAYERS = 10;
