import { type Digest, digestOf } from '@drakkar/protocol';

/** What is said of a start beyond what the image says. */
export interface StartCommand {
  /** Instead of the image's own; its own where absent. */
  readonly entrypoint?: readonly string[] | undefined;
  /** Instead of the image's own command; its own where absent. */
  readonly command?: readonly string[] | undefined;
}

/**
 * Under which what a start reads is remembered: `sha256` of `[entrypoint, command]` in JSON, with `null` for what is the image's own. So it is
 * known before anything of the image is, and says nothing of what stands in a command.
 */
export function startKeyOf({ entrypoint, command }: StartCommand = {}): Digest {
  return digestOf(JSON.stringify([entrypoint ?? null, command ?? null]));
}
