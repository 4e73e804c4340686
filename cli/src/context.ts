import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  ADMIN_SOCKET_NAME,
  type AdminCall,
  AdminClient,
  DEFAULT_CONFIG_PATH,
  DEFAULT_STATE_DIRECTORY,
} from '@drakkar/client';
import type { Config } from '@drakkar/daemon';
import { type DrakkarError, type ErrorCode, toDrakkarError } from '@drakkar/errors';
import type { SupernodeConfig } from '@drakkar/supernode';
import type { GlobalFlags } from './command-line/options.ts';
import { NO_PROGRESS, progressView } from './output/progress.ts';
import type { ProgressView } from './output/progress-view.ts';

/**
 * What a command works with: what was asked for globally, the daemon, and where to say things. Results for machines go
 * to stdout, words for people to stderr, so that `--json` output can be piped as it is.
 */
export interface Context {
  readonly json: boolean;
  readonly signal: AbortSignal;
  /** What `--config` names. */
  readonly configPath: string | undefined;
  config(): Promise<Config>;
  /** The file that `--config` names is the supernode's, for its commands. */
  supernodeConfig(): Promise<SupernodeConfig>;
  client(): Promise<AdminClient>;
  progress(): Promise<ProgressView>;
  /** Words for people, on stderr. */
  say(text: string): void;
  /** The outcome: `document` as one line of JSON with `--json`, else `text` on stdout. */
  answer(document: unknown, text: string): void;
}

export function contextOf(options: GlobalFlags, signal: AbortSignal): Context {
  const { json } = options;
  const config = async () => (await import('@drakkar/daemon')).configuration.load(options.config);
  return {
    json,
    signal,
    configPath: options.config,
    config,
    supernodeConfig: async () =>
      (await import('@drakkar/supernode')).supernodeConfiguration.load(options.config),
    client: async () => new AdminClient(await socketOf(options, config)),
    progress: async () => (json ? NO_PROGRESS : progressView(process.stderr)),
    say: (text) => {
      process.stderr.write(`${text}\n`);
    },
    answer: (document, text) => {
      process.stdout.write(json ? `${JSON.stringify(document)}\n` : text === '' ? '' : `${text}\n`);
    },
  };
}

/** Makes a call of the daemon and shows its progress, which is gone from the terminal before there is an answer. */
export async function showing<Result>(
  context: Context,
  call: (options: AdminCall<Result>) => Promise<Result>,
): Promise<Result> {
  using progress = await context.progress();
  return await call({
    signal: context.signal,
    onEvent: (event) => {
      if (event.type === 'progress') progress.update(event);
    },
  });
}

/** Without a configuration file there is nothing to read, and the daemon's code need not be loaded. */
async function socketOf(options: GlobalFlags, config: () => Promise<Config>): Promise<string> {
  const given = options.socket ?? process.env.DRAKKAR_SOCKET;
  if (given) return given;
  const isDefault = options.config === undefined && !existsSync(DEFAULT_CONFIG_PATH);
  return isDefault ? join(DEFAULT_STATE_DIRECTORY, ADMIN_SOCKET_NAME) : adminSocket(await config());
}

export function adminSocket(config: Config): string {
  return join(config.stateDirectory, ADMIN_SOCKET_NAME);
}

/** Exit codes that scripts can use; documented in the README. */
export const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  internal: 1,
  invalid_argument: 2,
  not_found: 3,
  no_platform: 3,
  unauthorized: 4,
  forbidden: 4,
  unavailable: 5,
  timeout: 5,
  invalid_content: 6,
  limit_exceeded: 6,
  no_space: 7,
  busy: 8,
  already_exists: 8,
  unsupported: 9,
  cancelled: 130,
};

/** Says an error the way the caller reads: one JSON line, or words with what to do. */
export function reportError(cause: unknown, json: boolean): DrakkarError {
  if (cause instanceof SuppressedError) {
    const error = reportError(cause.suppressed, json);
    process.stderr.write(`drakkar: and then, while cleaning up: ${toDrakkarError(cause.error).message}\n`);
    return error;
  }
  const error = toDrakkarError(cause);
  if (json) process.stdout.write(`${JSON.stringify({ error })}\n`);
  const { hint, details } = error;
  const { traceId } = details;
  const isDefect = error.code === 'internal' && typeof traceId === 'string';
  const rest = [hint, isDefect ? `what the logs have with ${traceId} says more` : undefined];
  const words = [error.message, ...rest.filter((each) => each !== undefined)].join('\n  ');
  process.stderr.write(`drakkar: ${words}\n`);
  if (error.code === 'internal' && process.env.DRAKKAR_DEBUG) process.stderr.write(`${error.stack}\n`);
  return error;
}
