import { dirname } from 'node:path';
import type { StartResult } from '@drakkar/client';
import { releaseInterrupts } from '../interrupt.ts';
import { type RunOptions, runtimeSpec } from './bundle.ts';
import { type ContainerEvents, runContainer } from './container.ts';
import type { Outputs, RunFlags } from './request.ts';
import { readInRootfs } from './rootfs.ts';
import { resolveUser } from './user.ts';

/**
 * Runs a container on a root file system that the daemon has prepared.
 *
 * @returns its exit code, once it has ended
 */
export async function launch(
  { id, rootfs, imageConfig }: StartResult,
  command: readonly string[],
  flags: RunFlags,
  outputs: Outputs,
  events: ContainerEvents,
): Promise<number> {
  const [passwd, group] = await Promise.all([
    readInRootfs(rootfs, '/etc/passwd'),
    readInRootfs(rootfs, '/etc/group'),
  ]);
  const user = resolveUser(flags.user ?? imageConfig.config?.User ?? '', passwd, group);
  const options: RunOptions = {
    command,
    entrypoint: flags.entrypoint,
    env: flags.env,
    workingDirectory: flags.workdir,
    terminal: flags.tty === true,
    network: flags.net,
  };
  const container = {
    id,
    directory: dirname(rootfs),
    spec: runtimeSpec(id, rootfs, imageConfig, user, options, process.env),
    terminal: options.terminal,
    interactive: flags.interactive === true || options.terminal,
    ...outputs,
  };
  // Who can end the container otherwise keeps its Ctrl-C: the first process of a container may well ignore that.
  using _ = outputs.kill === undefined ? releaseInterrupts() : undefined;
  return await runContainer(container, events);
}
