import type { PolicyDocument } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { parseAge } from '../command-line/age.ts';
import { defineCommand } from '../command-line/command.ts';
import { parseNumber } from '../command-line/number.ts';
import { ROLLOUT, rolloutOf } from '../jobs/rollout.ts';
import { formatAge, formatCount, formatTable } from '../output/format.ts';
import { supernodeClient } from '../supernode-place.ts';

const { keep: _keep, detach: _detach, 'stop-after': _stopAfter, ...WHERE } = ROLLOUT;
/** The supernode names no more. */
const MAX_SEEN = 500;
const PATTERNS =
  'A pattern is REGISTRY/REPOSITORY[:TAG]: * stands for a part of a name, ** for several, {a,b} for either.';

/** `drakkar policy …`: which images get what, when. */
export const commands = [
  defineCommand({
    name: 'policy ls',
    summary: 'list policies: which images are made snapshots of, and where those go',
    configures: 'supernode',
    positionals: [],
    options: {},
    async run(context) {
      const policies = await (await supernodeClient(context)).policies({ signal: context.signal });
      if (context.json) {
        for (const policy of policies) context.answer(policy, '');
        return;
      }
      const rows = policies.map((policy) => [
        policy.name,
        policy.images.join(' '),
        whenOf(policy),
        whereOf(policy),
        `${policy.atOnce} at once`,
        policy.keepMs === null ? 'for ever' : formatAge(policy.keepMs),
      ]);
      context.answer(policies, formatTable(['NAME', 'IMAGES', 'WHEN', 'WHERE', 'BUILDS', 'KEPT'], rows));
    },
  }),
  defineCommand({
    name: 'policy create',
    summary: 'have snapshots made of images when they are pushed or first pulled',
    notes: `${PATTERNS}\nOne of the same name is replaced.`,
    configures: 'supernode',
    positionals: ['<name>', '<pattern>', '[patterns...]'],
    options: {
      'no-push': { summary: 'not when a registry says that one was pushed' },
      'no-first-pull': { summary: 'not when a host has pulled one that has no snapshot' },
      'min-size': {
        value: 'bytes',
        default: '0',
        summary: 'of the layers of an image that was pulled; smaller ones get none',
      },
      'at-once': { value: 'number', default: '2', summary: 'builds at the same time' },
      'push-snapshots': { summary: 'snapshots go to the images’ registries, too' },
      distribute: {
        value: 'what',
        choices: ['snapshot', 'start', 'layers'],
        summary: 'bring that to hosts as soon as it is built: to all, or as the options below say',
      },
      refresh: { value: 'time', summary: 'look at known tags again this often: 30min, 1d' },
      'keep-for': {
        value: 'time',
        summary:
          'forget snapshots that nobody has started for so long: 30d; hosts keep theirs until they need the room',
      },
      'dry-run': { summary: 'only say which images that were seen it would be for' },
      ...WHERE,
    },
    async run(context, [name, first, others], flags) {
      const client = await supernodeClient(context);
      const { signal } = context;
      const images = [first, ...others];
      if (flags['dry-run']) {
        const seen = await client.dryRunPolicy({ images }, { signal });
        const count =
          seen.length < MAX_SEEN ? formatCount(seen.length, 'image') : `${MAX_SEEN} or more images`;
        const text = [`${count} that were seen match`, ...seen.map(({ image }) => image)];
        context.answer(seen, text.join('\n'));
        return;
      }
      const { target, parallelism } = rolloutOf({
        ...flags,
        keep: false,
        detach: false,
        'stop-after': undefined,
      });
      const request = {
        name,
        images,
        on: { push: !flags['no-push'], firstPull: !flags['no-first-pull'] },
        minSizeBytes: parseNumber(flags['min-size'], '--min-size', [0]),
        atOnce: parseNumber(flags['at-once'], '--at-once', [1, 1_000]),
        push: flags['push-snapshots'],
        distribute:
          flags.distribute === undefined ? null : { content: flags.distribute, target, parallelism },
        refreshMs: flags.refresh === undefined ? null : parseAge(flags.refresh),
        keepMs: flags['keep-for'] === undefined ? null : parseAge(flags['keep-for']),
      };
      const known = (await client.policies({ signal })).find((policy) => policy.name === name);
      const policy =
        known === undefined
          ? await client.createPolicy(request, { signal })
          : await client.changePolicy(known.id, request, { signal });
      context.answer(
        policy,
        `${name} is in force: ${images.join(' ')}, ${whenOf(policy)}, ${whereOf(policy)}`,
      );
    },
  }),
  defineCommand({
    name: 'policy rm',
    summary: 'end a policy; what it has had done stays',
    configures: 'supernode',
    positionals: ['<name>'],
    options: {},
    async run(context, [name]) {
      const client = await supernodeClient(context);
      const { signal } = context;
      const policy = (await client.policies({ signal })).find(
        (each) => each.name === name || each.id === name,
      );
      if (policy === undefined)
        throw new DrakkarError('not_found', `there is no policy ${name}`, {
          hint: '`drakkar policy ls` lists them',
        });
      await client.removePolicy(policy.id, { signal });
      context.answer({ removed: policy.id }, `${policy.name} is in force no longer`);
    },
  }),
];

function whenOf({ enabled, on, refreshMs }: PolicyDocument): string {
  const times = [
    ...(on.push ? ['push'] : []),
    ...(on.firstPull ? ['first pull'] : []),
    ...(refreshMs === null ? [] : [`every ${formatAge(refreshMs)}`]),
  ];
  return enabled ? times.join(', ') || 'never' : 'off';
}

function whereOf({ distribute, push }: PolicyDocument): string {
  const where = distribute === null ? 'built' : `${distribute.content} to hosts`;
  return push ? `${where}, and to the registry` : where;
}
