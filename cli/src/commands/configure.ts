import { resolve } from 'node:path';
import type { DaemonStatus, PullResult } from '@drakkar/client';
import { DrakkarError, isDrakkarError } from '@drakkar/errors';
import { isRegistry } from '@drakkar/protocol';
import { defineCommand } from '../command-line/command.ts';
import { containerdVersion, planContainerd, recordOf } from '../configure/containerd.ts';
import { describeDiff } from '../configure/diff.ts';
import { applyPlan, readConfiguration, type Undone, undoPlan } from '../configure/files.ts';
import { ALL_REGISTRIES } from '../configure/hosts-toml.ts';
import { findPlace, type Place, templateOf } from '../configure/places.ts';
import {
  CONTAINERD_CONFIG_PATH,
  type ContainerdVersion,
  parseContainerdVersion,
  requireSound,
} from '../configure/plan.ts';
import { byEnding, bySystemd, TakeOver } from '../configure/restart.ts';
import { parseToml, SET_BY } from '../configure/toml-edit.ts';
import { type Context, showing } from '../context.ts';

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
      runtime: {
        summary:
          'have only pods of this runtime class use the snapshotter, all others the one that they have',
        value: 'name',
      },
      mirror: {
        summary: 'the mirror for this registry; may be given several times',
        value: 'registry',
        multiple: true,
      },
      'mirror-all': { summary: 'the mirror for all registries' },
      layers: {
        summary:
          'with --undo: give containerd the layers of images that were not unpacked first, so that pods start from them afterwards',
      },
      'containerd-address': {
        summary: 'containerd’s socket, for --layers, unless it is the usual one, or that of k3s or RKE2',
        value: 'file',
      },
      restart: { summary: 'restart containerd where that is needed; containers go on' },
      end: {
        summary:
          'the same by ending the one at --containerd-address, which what has started it starts again: for pods, which can’t ask systemd',
      },
      'containerd-program': { summary: 'containerd itself, unless it is on the PATH', value: 'file' },
      'containerd-config': {
        summary: `containerd’s configuration, unless it is ${CONTAINERD_CONFIG_PATH} or that of k3s or RKE2`,
        value: 'file',
      },
    },
    async run(context, _, flags) {
      const place = await findPlace();
      const named =
        flags['containerd-config'] === undefined ? undefined : resolve(flags['containerd-config']);
      if (flags.undo) {
        if (flags.snapshotter || flags['mirror-all'] || flags.mirror.length > 0) refuseHalfUndo();
        const socket = flags['containerd-address'] ?? place.socket;
        if (flags.layers && !flags['dry-run']) await giveAllLayers(context, socket);
        return await undo(context, await configuredIn(place, named), place, flags);
      }
      if (flags.runtime !== undefined) requireRuntimeName(flags.runtime);
      const address = flags['containerd-address'];
      if (flags.end && address === undefined) refuseEnd();
      const version = await versionOf(flags['containerd-program'] ?? place.program, address, context.signal);
      const { configPath, templatePath } = placesOf(place, version, named);
      const isAll = !flags.snapshotter && flags.mirror.length === 0 && !flags['mirror-all'];
      const isGenerated = templatePath !== undefined;
      if (isGenerated && (flags['mirror-all'] || flags.mirror.length > 0)) refuseMirror(place);
      const registries = (isAll && !isGenerated) || flags['mirror-all'] ? [ALL_REGISTRIES] : flags.mirror;
      for (const registry of flags.mirror) refuseUnlessRegistry(registry);
      const places = await daemonPlaces(context);
      const plan = await planContainerd({
        configPath,
        templatePath,
        version,
        snapshotterSocket:
          isAll || flags.snapshotter || flags.runtime !== undefined ? requireSocket(places) : undefined,
        runtime: flags.runtime,
        stateDirectory: places.stateDirectory,
        mirrorUrl: places.mirrorUrl,
        registries,
      });
      const takeOver = await takeOverOf(context, configPath, place, flags);
      const isChanged = plan.some(({ path }) => path === configPath);
      const needsRestart = isChanged || (await takeOver.isDue());
      const diffs = plan.map(({ path, before, after }) => describeDiff(path, before, after));
      if (!flags['dry-run']) {
        const record = recordOf(configPath);
        await takeOver
          .write(() => applyPlan(plan, record), needsRestart, context.signal)
          .catch((cause: unknown) => takeBack(context, takeOver, record, cause));
      }
      const said =
        plan.length === 0 && !needsRestart
          ? ['nothing has to be changed']
          : [...diffs, afterwards(flags, place, needsRestart)];
      context.answer(
        { files: plan.map(({ path }) => path), changed: !flags['dry-run'] && plan.length > 0, needsRestart },
        said.join('\n'),
      );
    },
  }),
];

async function undo(
  context: Context,
  configPath: string,
  place: Place,
  flags: RestartFlags & Readonly<Record<'dry-run' | 'layers', boolean>>,
): Promise<void> {
  const { 'dry-run': isTrial, restart, end, layers } = flags;
  const record = recordOf(configPath);
  const takeOver = await takeOverOf(context, configPath, place, flags);
  const check = (path: string, text: string) => {
    if (path === configPath) requireSound(parseToml(text, path), path);
  };
  let undone = await undoPlan(record, true, check);
  if (undone.length === 0) await refuseLostRecord(configPath);
  const isChanged = undone.some(({ path, outcome }) => path === configPath && outcome !== 'left');
  const needsRestart = isChanged || (await takeOver.isDue());
  if (!isTrial) {
    const write = async () => {
      undone = await undoPlan(record);
    };
    await takeOver.write(write, needsRestart, context.signal);
  }
  const lines = undone.map(({ path, outcome }) => `${path}  ${OUTCOMES[outcome]}`);
  if (undone.length === 0) lines.push(`nothing has been configured here: ${record} would say what`);
  else if (isTrial) lines.push('so it would be; nothing was changed');
  else if (needsRestart && !restart && !end) lines.push(restartWords(place));
  if (needsRestart && !layers) lines.push(PULL_AGAIN);
  context.answer({ files: undone, needsRestart, changed: !isTrial }, lines.join('\n'));
}

const OUTCOMES: Readonly<Record<Undone['outcome'], string>> = {
  restored: 'is as it was',
  removed: 'is gone, as it was',
  reverted: 'has changed since; what was set is taken back, the rest is as it is now',
  partly:
    'has changed since; some of what was set stays, for somebody has changed it: FILE.drakkar.json.undone beside it has what it was',
  left: 'is left as it is: nothing of what was set is there any more',
};

/** Containerd knows those images, and has nothing of them. */
const PULL_AGAIN =
  'images that were not unpacked must be pulled once more, the one of pod sandboxes first of all; with --layers they need not';

/** Of every image that pods may be from, and of which this host has a snapshot. What containerd does not know it collects again. */
async function giveAllLayers(context: Context, socket: string): Promise<void> {
  const [{ ContainerdClient }, { giveLayers }] = await Promise.all([
    import('@drakkar/containerd'),
    import('../containerd/give-image.ts'),
  ]);
  const client = await context.client();
  await using containerd = await ContainerdClient.open(socket, 'k8s.io', context.signal);
  for (const { image, platform } of await client.snapshots(context.signal)) {
    const pulled = await showing<PullResult>(context, (call) => client.pull({ image, platform }, call));
    await giveLayers(containerd, client, pulled, context.signal);
  }
}

interface RestartFlags {
  readonly restart: boolean;
  readonly end: boolean;
  readonly 'containerd-address': string | undefined;
}

/** @throws where containerd could not be ended, before anything is written */
async function takeOverOf(
  { signal }: Context,
  configPath: string,
  { units, socket }: Place,
  { restart, end, 'containerd-address': address = socket }: RestartFlags,
): Promise<TakeOver> {
  if (end) return new TakeOver(configPath, await byEnding(address, signal));
  return new TakeOver(configPath, restart ? bySystemd(units) : undefined);
}

/** Containerd does not begin with what was written: a node without it helps nobody. */
async function takeBack(
  { signal }: Context,
  takeOver: TakeOver,
  record: string,
  cause: unknown,
): Promise<never> {
  if (!isDrakkarError(cause, 'unavailable')) throw cause;
  await takeOver.takeBack(() => undoPlan(record), signal);
  throw new DrakkarError('unavailable', 'containerd does not begin with what was written', {
    hint: 'its log says why; its configuration is as it was, and it runs',
    cause,
  });
}

/** Of the one that runs where it is said where, else of the program. */
async function versionOf(
  program: string,
  address: string | undefined,
  signal: AbortSignal,
): Promise<ContainerdVersion> {
  if (address === undefined) return await containerdVersion(program);
  const { containerdAt } = await import('@drakkar/containerd');
  return parseContainerdVersion((await containerdAt(address, signal)).version);
}

function refuseEnd(): never {
  throw new DrakkarError('invalid_argument', '--end needs --containerd-address', {
    hint: 'so that the right one is ended; without it, --restart asks systemd',
  });
}

/** @throws `not_found` where something has been set, and nothing says how it was before */
async function refuseLostRecord(configPath: string): Promise<void> {
  const text = await readConfiguration(configPath);
  if (text === undefined || !text.includes(SET_BY)) return;
  throw new DrakkarError('not_found', `${recordOf(configPath)} is not there, which would say what was set`, {
    hint: `take out what stands below “${SET_BY}” in ${configPath} by hand`,
  });
}

function requireRuntimeName(name: string): void {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return;
  throw new DrakkarError(
    'invalid_argument',
    `${JSON.stringify(name.slice(0, 100))} is no name of a runtime`,
    {
      hint: 'it is what a RuntimeClass has as its handler: small letters, digits and -, at most 63',
    },
  );
}

function refuseHalfUndo(): never {
  throw new DrakkarError('invalid_argument', '--undo takes back everything that was configured', {
    hint: 'configure anew what shall stay, afterwards',
  });
}

const restartWords = ({ units }: Place) =>
  `containerd takes it over when it is restarted (systemctl restart ${units.join(' or ')}); containers go on meanwhile`;

/** The file that was changed, whatever containerd there is now. */
async function configuredIn(place: Place, named: string | undefined): Promise<string> {
  const paths = [1, 2].map((major) => placesOf(place, { major, minor: 0 }, named).configPath);
  for (const path of paths) if ((await readConfiguration(recordOf(path))) !== undefined) return path;
  return paths[0] ?? place.config;
}

/** Of a distribution the file beside its own, from which it makes that. */
function placesOf(
  { config, generated }: Place,
  version: ContainerdVersion,
  named: string | undefined,
): { readonly configPath: string; readonly templatePath?: string } {
  if (named !== undefined) return { configPath: named };
  if (generated === undefined) return { configPath: config };
  return { configPath: templateOf(generated, version), templatePath: generated };
}

/** It writes every hosts.toml anew whenever it starts. */
function refuseMirror({ name }: Place): never {
  throw new DrakkarError(
    'unsupported',
    `${name} makes its hosts.toml itself, from /etc/rancher/${name}/registries.yaml`,
    {
      hint: 'name the daemon’s mirror there: mirrors: {"*": {endpoint: ["http://127.0.0.1:4001"]}}',
    },
  );
}

function afterwards(
  flags: RestartFlags & { readonly 'dry-run': boolean },
  place: Place,
  needsRestart: boolean,
): string {
  if (flags['dry-run']) return 'nothing was changed';
  if (!needsRestart) return 'done; containerd reads it with the next pull';
  return flags.restart || flags.end
    ? 'done, and containerd has been restarted'
    : `done; ${restartWords(place)}`;
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
