import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { DaemonStatus } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { isRegistry } from '@drakkar/protocol';
import { defineCommand } from '../command-line/command.ts';
import { containerdVersion, planContainerd, recordOf } from '../configure/containerd.ts';
import { describeDiff } from '../configure/diff.ts';
import { applyPlan, type Undone, undoPlan } from '../configure/files.ts';
import { ALL_REGISTRIES } from '../configure/hosts-toml.ts';
import { CONTAINERD_CONFIG_PATH } from '../configure/plan.ts';
import type { Context } from '../context.ts';

const run = promisify(execFile);

type DaemonPlaces = Pick<DaemonStatus, 'mirrorUrl' | 'snapshotterSocket' | 'stateDirectory'>;

/** `drakkar configure containerd` */
export const commands = [
  defineCommand({
    name: 'configure containerd',
    summary: 'have this host’s containerd use the snapshotter and the mirror, or undo that',
    notes:
      'Without --snapshotter, --mirror or --mirror-all both are set up, the mirror for all registries. What was there stays as it is, comments too, and --undo brings it back.',
    positionals: [],
    options: {
      'dry-run': { summary: 'show what would change, and change nothing' },
      undo: { summary: 'bring back what was there before' },
      snapshotter: { summary: 'only the snapshotter, and the mirrors that are named' },
      mirror: {
        summary: 'the mirror for this registry; may be given several times',
        value: 'registry',
        multiple: true,
      },
      'mirror-all': { summary: 'the mirror for all registries' },
      restart: { summary: 'restart containerd where that is needed; containers go on' },
      'containerd-program': { summary: 'containerd itself, unless it is on the PATH', value: 'file' },
      'containerd-config': {
        summary: `containerd’s configuration, unless it is ${CONTAINERD_CONFIG_PATH}`,
        value: 'file',
      },
    },
    async run(context, _, flags) {
      const configPath = flags['containerd-config'] ?? CONTAINERD_CONFIG_PATH;
      if (flags.undo) return await undo(context, configPath, flags.restart);
      const isAll = !flags.snapshotter && flags.mirror.length === 0 && !flags['mirror-all'];
      const registries = isAll || flags['mirror-all'] ? [ALL_REGISTRIES] : flags.mirror;
      for (const registry of flags.mirror) refuseUnlessRegistry(registry);
      const places = await daemonPlaces(context);
      const plan = await planContainerd({
        configPath,
        version: await containerdVersion(flags['containerd-program'] ?? 'containerd'),
        snapshotterSocket: isAll || flags.snapshotter ? requireSocket(places) : undefined,
        stateDirectory: places.stateDirectory,
        mirrorUrl: places.mirrorUrl,
        registries,
      });
      const needsRestart = plan.some(({ path }) => path === configPath);
      const diffs = plan.map(({ path, before, after }) => describeDiff(path, before, after));
      if (!flags['dry-run']) {
        await applyPlan(plan, recordOf(configPath));
        if (needsRestart && flags.restart) await restartContainerd();
      }
      const said =
        plan.length === 0 ? ['nothing has to be changed'] : [...diffs, afterwards(flags, needsRestart)];
      context.answer(
        { files: plan.map(({ path }) => path), changed: !flags['dry-run'] && plan.length > 0, needsRestart },
        said.join('\n'),
      );
    },
  }),
];

async function undo(context: Context, configPath: string, restart: boolean): Promise<void> {
  const undone = await undoPlan(recordOf(configPath));
  const needsRestart = undone.some(({ path, outcome }) => path === configPath && outcome !== 'left');
  if (needsRestart && restart) await restartContainerd();
  const lines = undone.map(({ path, outcome }) => `${path}  ${OUTCOMES[outcome]}`);
  if (needsRestart && !restart) lines.push(RESTART);
  context.answer({ files: undone, needsRestart }, lines.join('\n'));
}

const OUTCOMES: Readonly<Record<Undone['outcome'], string>> = {
  restored: 'is as it was',
  removed: 'is gone, as it was',
  reverted: 'has changed since; what was set is taken back, the rest is as it is now',
  partly:
    'has changed since; some of what was set stays, for somebody has changed it: FILE.drakkar.json.undone beside it has what it was',
  left: 'is left as it is: nothing of what was set is there any more',
};

const RESTART =
  'containerd takes it over when it is restarted (systemctl restart containerd); containers go on meanwhile';

function afterwards(
  flags: { readonly 'dry-run': boolean; readonly restart: boolean },
  needsRestart: boolean,
): string {
  if (flags['dry-run']) return 'nothing was changed';
  if (!needsRestart) return 'done; containerd reads it with the next pull';
  return flags.restart ? 'done, and containerd has been restarted' : `done; ${RESTART}`;
}

/** Of the daemon that runs, else as it is configured. */
async function daemonPlaces(context: Context): Promise<DaemonPlaces> {
  const client = await context.client();
  const status = await client.status(context.signal).catch(() => undefined);
  if (status !== undefined) return status;
  const { mirror, containerd, stateDirectory } = await context.config();
  const host = mirror.address.includes(':') ? `[${mirror.address}]` : mirror.address;
  return {
    mirrorUrl: `http://${host}:${mirror.port}`,
    snapshotterSocket: containerd.snapshotterSocket,
    stateDirectory,
  };
}

function refuseUnlessRegistry(text: string): void {
  if (isRegistry(text)) return;
  throw new DrakkarError('invalid_argument', `${JSON.stringify(text)} is not the name of a registry`, {
    hint: 'write it as image references do: ghcr.io, or registry.example:5000',
  });
}

function requireSocket({ snapshotterSocket }: DaemonPlaces): string {
  if (snapshotterSocket !== null) return snapshotterSocket;
  throw new DrakkarError('invalid_argument', 'the daemon serves no snapshotter', {
    hint: 'set containerd.snapshotterSocket in its configuration (/run/drakkar/snapshotter.sock), restart it, then try again',
  });
}

async function restartContainerd(): Promise<void> {
  try {
    await run('systemctl', ['restart', 'containerd']);
  } catch (cause) {
    throw new DrakkarError('unavailable', 'containerd could not be restarted', {
      hint: 'restart it yourself; the configuration is written',
      cause,
    });
  }
}
