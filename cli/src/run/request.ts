/** What the command line says of a container. */
export interface RunFlags {
  readonly platform?: string | undefined;
  /** `NAME=VALUE`, or `NAME` for the caller's own value. */
  readonly env: readonly string[];
  readonly workdir?: string | undefined;
  readonly user?: string | undefined;
  readonly entrypoint?: string | undefined;
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly net: 'host' | 'none';
}

/** Where a container's output goes. */
export interface Outputs {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  /** Ends the container. */
  readonly kill?: AbortSignal;
}
