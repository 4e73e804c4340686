import { readFile } from 'node:fs/promises';
import type { SupernodeClient } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { defineCommand } from '../command-line/command.ts';
import { formatAge, formatTable } from '../output/format.ts';
import { supernodeClient } from '../supernode-place.ts';

const KINDS = ['distribution', 'harbor', 'docker-hub', 'ghcr', 'acr-azure', 'acr-aliyun', 'generic'] as const;

/** `drakkar webhook …`: where registries say what was pushed. */
export const commands = [
  defineCommand({
    name: 'webhook ls',
    summary: 'list webhooks, and what came last',
    configures: 'supernode',
    positionals: [],
    options: {},
    async run(context) {
      const hooks = await (await supernodeClient(context)).webhooks({ signal: context.signal });
      if (context.json) {
        for (const hook of hooks) context.answer(hook, '');
        return;
      }
      const rows = hooks.map(({ name, kind, path, deliveries, lastTaken }) => {
        // Registries tell of much that is no push.
        const shown = lastTaken ?? deliveries[0];
        const when = shown && `${shown.outcome} ${formatAge(Date.now() - shown.atMs)} ago`;
        return [name, kind, when ?? 'nothing yet', path, shown?.detail ?? ''];
      });
      context.answer(hooks, formatTable(['NAME', 'KIND', 'LAST', 'PATH', 'DETAIL'], rows));
    },
  }),
  defineCommand({
    name: 'webhook create',
    summary: 'hear of a registry’s pushes; prints where it sends them, and the secret, once',
    configures: 'supernode',
    positionals: ['<name>'],
    options: {
      kind: { value: 'kind', choices: KINDS, required: true, summary: 'who sends' },
      registry: {
        value: 'host',
        summary: 'how hosts name the registry, where it calls itself otherwise or not at all',
      },
    },
    async run(context, [name], { kind, registry }) {
      const client = await supernodeClient(context);
      const { signal } = context;
      const hook = await client.createWebhook(
        { name, kind, ...(registry === undefined ? {} : { registry }) },
        { signal },
      );
      const { apiUrl } = await client.status({ signal });
      const lines = [`url     ${apiUrl}${hook.path}`, `secret  ${hook.secret}`, `        ${hook.proof}`];
      context.answer({ ...hook, url: apiUrl + hook.path }, lines.join('\n'));
    },
  }),
  defineCommand({
    name: 'webhook try',
    summary: 'say what a delivery would have done, and do nothing of it',
    configures: 'supernode',
    positionals: ['<name>'],
    options: {
      delivery: {
        value: 'file',
        summary: 'the JSON that the registry sends; an example where it is not given',
      },
    },
    async run(context, [name], { delivery: path }) {
      const client = await supernodeClient(context);
      const { signal } = context;
      const { id } = await hookOf(client, name, signal);
      const delivery = path === undefined ? undefined : await readJson(path);
      const trial = await client.tryWebhook(id, delivery, { signal });
      const lines = trial.images.flatMap(({ image, policies }) => [
        image,
        ...policies.map(({ name, does }) => `  ${name}: ${does.join(', ') || 'nothing when it is pushed'}`),
        ...(policies.length === 0 ? ['  no policy is for it'] : []),
      ]);
      context.answer(trial, lines.join('\n') || 'it tells of no push');
    },
  }),
  defineCommand({
    name: 'webhook rm',
    summary: 'hear of a registry no longer',
    configures: 'supernode',
    positionals: ['<name>'],
    options: {},
    async run(context, [name]) {
      const client = await supernodeClient(context);
      const { signal } = context;
      const hook = await hookOf(client, name, signal);
      await client.removeWebhook(hook.id, { signal });
      context.answer({ removed: hook.id }, `${hook.name} is heard no longer`);
    },
  }),
];

/** @throws `not_found` */
async function hookOf(client: SupernodeClient, name: string, signal: AbortSignal) {
  const hook = (await client.webhooks({ signal })).find((each) => each.name === name || each.id === name);
  if (hook !== undefined) return hook;
  throw new DrakkarError('not_found', `there is no webhook ${name}`, {
    hint: '`drakkar webhook ls` lists them',
  });
}

/** @throws `invalid_argument` */
async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new DrakkarError('invalid_argument', `${path} can't be read as JSON`, { cause });
  }
}
