/** What there is to be done. A command's code is loaded when it is named. */
import type { AnyCommand } from './command-line/command.ts';

/** By the first word of their names. */
export const COMMANDS: Readonly<Record<string, () => Promise<{ readonly commands: readonly AnyCommand[] }>>> =
  {
    up: () => import('./commands/up.ts'),
    daemon: () => import('./commands/daemon.ts'),
    supernode: () => import('./commands/supernode.ts'),
    hosts: () => import('./commands/hosts.ts'),
    preheat: () => import('./commands/preheat.ts'),
    jobs: () => import('./commands/jobs.ts'),
    bench: () => import('./commands/bench.ts'),
    policy: () => import('./commands/policy.ts'),
    webhook: () => import('./commands/webhook.ts'),
    token: () => import('./commands/token.ts'),
    login: () => import('./commands/login.ts'),
    logout: () => import('./commands/logout.ts'),
    top: () => import('./commands/top.ts'),
    get: () => import('./commands/get.ts'),
    pull: () => import('./commands/pull.ts'),
    run: () => import('./commands/run.ts'),
    snapshot: () => import('./commands/snapshot.ts'),
    blobs: () => import('./commands/blobs.ts'),
    config: () => import('./commands/config.ts'),
    configure: () => import('./commands/configure.ts'),
    doctor: () => import('./commands/doctor.ts'),
    completion: () => import('./commands/completion.ts'),
  };

/** All of them, loaded. */
export async function allCommands(): Promise<AnyCommand[]> {
  const groups = await Promise.all(Object.values(COMMANDS).map(async (load) => (await load()).commands));
  return groups.flat();
}
