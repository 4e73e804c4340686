import { parseAge } from '../command-line/age.ts';
import { defineCommand } from '../command-line/command.ts';
import { formatAge, formatExpiry, formatTable } from '../output/format.ts';
import { supernodeClient } from '../supernode-place.ts';

const ROLES = ['viewer', 'operator', 'admin'] as const;

/** `drakkar token …`: who may do what over the supernode's API. */
export const commands = [
  defineCommand({
    name: 'token ls',
    summary: 'list the tokens of the supernode’s API',
    configures: 'supernode',
    positionals: [],
    options: {},
    async run(context) {
      const tokens = await (await supernodeClient(context)).tokens({ signal: context.signal });
      if (context.json) {
        for (const token of tokens) context.answer(token, '');
        return;
      }
      const rows = tokens.map(({ id, name, role, createdAtMs, createdBy, expiresAtMs }) => [
        id,
        name,
        role,
        `${formatAge(Date.now() - createdAtMs)} ago by ${createdBy}`,
        formatExpiry(expiresAtMs, Date.now()),
      ]);
      context.answer(tokens, formatTable(['ID', 'NAME', 'ROLE', 'CREATED', 'EXPIRES'], rows));
    },
  }),
  defineCommand({
    name: 'token create',
    summary: 'make a token, which is printed once',
    configures: 'supernode',
    positionals: ['<name>'],
    options: {
      role: { value: 'role', choices: ROLES, required: true, summary: 'look, have jobs done, or everything' },
      ttl: { value: 'time', default: '90d', summary: 'how long it is good: 12h, 90d, or never' },
    },
    async run(context, [name], { role, ttl }) {
      const ttlMs = ttl === 'never' ? null : parseAge(ttl);
      const client = await supernodeClient(context);
      const token = await client.createToken({ name, role, ttlMs }, { signal: context.signal });
      context.say(`${role} ${name}; nobody can show it again:`);
      context.answer(token, token.text);
    },
  }),
  defineCommand({
    name: 'token revoke',
    summary: 'end a token at once, by its id',
    configures: 'supernode',
    positionals: ['<id>'],
    options: {},
    async run(context, [id]) {
      await (await supernodeClient(context)).revokeToken(id, { signal: context.signal });
      context.answer({ revoked: id }, `${id} is good no longer`);
    },
  }),
];
