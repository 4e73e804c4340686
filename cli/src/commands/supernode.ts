import { once } from 'node:events';
import { join } from 'node:path';
import { ADMIN_SOCKET_NAME, SupernodeClient } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { isPeerId } from '@drakkar/protocol';
import { defineCommand } from '../command-line/command.ts';
import type { Context } from '../context.ts';

/** `drakkar supernode …`: the supernode itself, and what its operator does. */
export const commands = [
  defineCommand({
    name: 'supernode token',
    summary: 'print what a daemon needs to join: swarm.supernode and swarm.joinToken',
    positionals: [],
    options: { rotate: { summary: 'make a new join token first; the old one lets nobody in any more' } },
    async run(context, _, { rotate }) {
      const client = await supernodeClient(context);
      const [{ token }, { address }] = [
        rotate ? await client.rotateToken(context.signal) : await client.token(context.signal),
        await client.status(context.signal),
      ];
      context.answer(
        { supernode: address, joinToken: token },
        `swarm:\n  supernode: ${address}\n  joinToken: ${token}`,
      );
    },
  }),
  defineCommand({
    name: 'supernode revoke',
    summary: 'end the membership of a host, by its name or its peer',
    positionals: ['<peer>'],
    options: {},
    async run(context, [peer]) {
      const client = await supernodeClient(context);
      const member = isPeerId(peer) ? peer : await peerNamed(peer, client, context.signal);
      await client.revoke(member, context.signal);
      context.answer(
        { peer: member },
        `${member} is a member no longer\n` +
          'who has the join token can still enrol: `drakkar supernode token --rotate` makes a new one',
      );
    },
  }),
  defineCommand({
    name: 'supernode rotate-key',
    summary: 'sign with a new cluster key; members are given new memberships, new hosts need a new token',
    positionals: [],
    options: {},
    async run(context) {
      const { clusterKey } = await (await supernodeClient(context)).rotateKey(context.signal);
      context.answer({ clusterKey }, clusterKey);
    },
  }),
  defineCommand({
    name: 'supernode',
    summary: 'run the supernode: members of the cluster, and who gets what from whom',
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
          `metrics  ${status.metricsUrl}`,
          'join     `drakkar supernode token` prints what a daemon needs',
          'Ctrl-C ends it.',
        ].join('\n'),
      );
      if (!context.signal.aborted) await once(context.signal, 'abort');
    },
  }),
];

/** @throws `not_found` | `invalid_argument` unless one member has that name */
async function peerNamed(name: string, client: SupernodeClient, signal: AbortSignal): Promise<string> {
  const named = (await client.hosts(signal)).filter((host) => host.name === name && host.state !== 'revoked');
  const [only, ...others] = named;
  if (only !== undefined && others.length === 0) return only.peer;
  throw new DrakkarError(
    only === undefined ? 'not_found' : 'invalid_argument',
    only === undefined ? `no member is called ${name}` : `${named.length} members are called ${name}`,
    { hint: '`drakkar hosts` lists names and peers' },
  );
}

/** Of the supernode that runs here. */
export async function supernodeClient(context: Context): Promise<SupernodeClient> {
  return new SupernodeClient(join((await context.supernodeConfig()).stateDirectory, ADMIN_SOCKET_NAME));
}
