import { once } from 'node:events';
import { resolve } from 'node:path';
import type { SupernodeClient, SwarmHost } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { parseAge } from '../command-line/age.ts';
import { defineCommand } from '../command-line/command.ts';
import { formatAge, formatBytes, formatCount, formatTable } from '../output/format.ts';
import { supernodeClient } from '../supernode-place.ts';

/** `drakkar supernode …`: the supernode itself, and what its operator does. */
export const commands = [
  defineCommand({
    name: 'supernode token',
    summary: 'print what a daemon needs to join: swarm.supernode and swarm.joinToken',
    configures: 'supernode',
    positionals: [],
    options: { rotate: { summary: 'make a new join token first; the old one lets nobody in any more' } },
    async run(context, _, { rotate }) {
      const client = await supernodeClient(context);
      const { signal } = context;
      const { supernode, supernodes, joinToken } = rotate
        ? await client.rotateJoinToken({ signal })
        : await client.joinToken({ signal });
      const where = supernodes.length > 1 ? `[${supernodes.join(', ')}]` : supernode;
      context.answer(
        { supernode, supernodes, joinToken },
        `swarm:\n  supernode: ${where}\n  joinToken: ${joinToken}`,
      );
    },
  }),
  defineCommand({
    name: 'supernode status',
    summary: 'where a supernode is reached, and what it has to do',
    configures: 'supernode',
    positionals: [],
    options: {},
    async run(context) {
      const status = await (await supernodeClient(context)).status({ signal: context.signal });
      const { version, address, apiUrl, apiPin, metricsUrl, uptimeMs, hosts, snapshots, jobs } = status;
      const several = status.supernodes.map((each) => [
        each.address,
        `${each.hosts}`,
        each.serving ? 'serving' : 'waits for its hosts',
        each.leads ? 'leads' : '',
      ]);
      context.answer(
        status,
        [
          `version    ${version}, for ${formatAge(uptimeMs)}`,
          `address    ${address}`,
          `api        ${apiUrl}${apiPin === null ? '' : ` --pin ${apiPin}`}`,
          `metrics    ${metricsUrl}`,
          `hosts      ${hosts} connected`,
          `snapshots  ${snapshots}`,
          `jobs       ${jobs} under way`,
          ...(several.length === 0 ? [] : ['', formatTable(['SUPERNODE', 'HOSTS', 'STATE', ''], several)]),
        ].join('\n'),
      );
    },
  }),
  defineCommand({
    name: 'supernode backup',
    summary: 'write all that the supernode must not forget into one file, while it runs or not',
    notes: 'Who has the file can be the cluster: its keys are in it.',
    configures: 'supernode',
    positionals: ['<file>'],
    options: {},
    async run(context, [file]) {
      const { backUp } = await import('@drakkar/supernode');
      const done = await backUp(await context.supernodeConfig(), resolve(file));
      context.answer(
        { ...done, path: file },
        `${file}  ${formatBytes(done.sizeBytes)} in ${formatCount(done.files, 'file')}`,
      );
    },
  }),
  defineCommand({
    name: 'supernode restore',
    summary: 'put what was backed up in the place of the supernode’s state; the supernode must not run',
    configures: 'supernode',
    positionals: ['<file>'],
    options: { replace: { summary: 'what is there goes aside, and is named' } },
    async run(context, [file], { replace }) {
      const { restore } = await import('@drakkar/supernode');
      const config = await context.supernodeConfig();
      const done = await restore(resolve(file), config, replace);
      const aside = done.aside === null ? '' : `\nwhat was there is in ${done.aside}`;
      context.answer(
        done,
        `${config.stateDirectory} is as it was ${formatAge(Date.now() - done.createdAtMs)} ago${aside}`,
      );
    },
  }),
  defineCommand({
    name: 'supernode revoke',
    summary: 'end the membership of a host, by its name or its peer',
    configures: 'supernode',
    positionals: ['<peer>'],
    options: {},
    async run(context, [peer]) {
      const client = await supernodeClient(context);
      const hosts = await client.hosts({}, { signal: context.signal });
      const { isPeerId } = await import('@drakkar/protocol');
      // One that was forgotten may hold a membership still.
      const member = isPeerId(peer) ? peer : memberNamed(peer, hosts).peer;
      await client.revoke(member, { signal: context.signal });
      context.answer(
        { peer: member },
        `${member} is a member no longer\n` +
          'who has the join token can still enrol: `drakkar supernode token --rotate` makes a new one',
      );
    },
  }),
  defineCommand({
    name: 'supernode forget',
    summary: 'take hosts that are away for good off the list',
    notes:
      'What they were given stays good until it ends (membershipMs): should one come back, it is a member again.\n' +
      'To keep a host out, revoke it; connected and revoked hosts are not forgotten.',
    configures: 'supernode',
    positionals: ['[peer]'],
    options: { away: { value: 'age', summary: 'all of which nothing was heard for so long: 12h, 7d' } },
    async run(context, [peer], { away }) {
      if ((peer === undefined) === (away === undefined)) {
        throw new DrakkarError(
          'invalid_argument',
          'name one host, or say with --away how long they are away',
        );
      }
      const client = await supernodeClient(context);
      const forgotten =
        away === undefined
          ? [await forgetOne(peer ?? '', client, context.signal)]
          : await client.forgetAway(parseAge(away), { signal: context.signal });
      const lines = forgotten.map((host) => `${host.name}  ${host.peer}`);
      context.answer(
        { forgotten },
        [`${formatCount(forgotten.length, 'host')} forgotten`, ...lines].join('\n'),
      );
    },
  }),
  defineCommand({
    name: 'supernode rotate-key',
    summary: 'sign with a new cluster key; members are given new memberships, new hosts need a new token',
    configures: 'supernode',
    positionals: [],
    options: {},
    async run(context) {
      const { clusterKey } = await (await supernodeClient(context)).rotateKey({ signal: context.signal });
      context.answer(
        { clusterKey },
        `${clusterKey} signs from now on\n` +
          'the join token is new, too: `drakkar supernode token` prints it\n' +
          'after a leak rotate once more: hosts believe the two newest keys',
      );
    },
  }),
  defineCommand({
    name: 'supernode',
    summary: 'run the supernode: members of the cluster, and who gets what from whom',
    configures: 'supernode',
    positionals: [],
    options: {},
    async run(context) {
      const { startSupernode } = await import('@drakkar/supernode');
      await using supernode = await startSupernode(await context.supernodeConfig());
      const status = supernode.status();
      context.answer(
        status,
        [
          `address  ${status.address}`,
          `api      ${status.apiUrl}`,
          `metrics  ${status.metricsUrl}`,
          'join     `drakkar supernode token` prints what a daemon needs',
          'Ctrl-C ends it.',
        ].join('\n'),
      );
      if (!context.signal.aborted) await once(context.signal, 'abort');
    },
  }),
];

async function forgetOne(
  name: string,
  client: SupernodeClient,
  signal: AbortSignal,
): Promise<Pick<SwarmHost, 'peer' | 'name'>> {
  const { peer, name: called } = hostNamed(name, await client.hosts({}, { signal }));
  await client.forget(peer, { signal });
  return { peer, name: called };
}

/** One that was not revoked. @throws as {@link hostNamed}; `forbidden` where all that are called so were revoked */
export function memberNamed(name: string, hosts: readonly SwarmHost[]): SwarmHost {
  const members = hosts.filter(({ state }) => state !== 'revoked');
  const isCalledSo = (host: SwarmHost) => host.name === name;
  if (hosts.some(isCalledSo) && !members.some(isCalledSo)) {
    throw new DrakkarError('forbidden', `${name} was revoked already`, {
      hint: 'who has the join token can still enrol: `drakkar supernode token --rotate` makes a new one',
    });
  }
  return hostNamed(name, members);
}

/** By its peer, or its name. @throws `not_found` | `invalid_argument` unless it is one member */
function hostNamed(name: string, hosts: readonly SwarmHost[]): SwarmHost {
  const named = hosts.filter((host) => host.peer === name || host.name === name);
  const [only, ...others] = named;
  if (only !== undefined && others.length === 0) return only;
  throw new DrakkarError(
    only === undefined ? 'not_found' : 'invalid_argument',
    only === undefined ? `no member is called ${name}` : `${named.length} members are called ${name}`,
    { hint: '`drakkar hosts` lists names and peers' },
  );
}
