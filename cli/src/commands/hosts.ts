import { defineCommand } from '../command-line/command.ts';
import { formatAge, formatTable } from '../output/format.ts';
import { supernodeClient } from '../supernode-place.ts';

/** `drakkar hosts`: the members of the cluster. */
export const commands = [
  defineCommand({
    name: 'hosts',
    summary: 'list the hosts of the cluster, by their names',
    configures: 'supernode',
    positionals: [],
    options: {},
    async run(context) {
      const hosts = await (await supernodeClient(context)).hosts({}, { signal: context.signal });
      if (context.json) {
        for (const host of hosts) context.answer(host, '');
        return;
      }
      const rows = hosts.map((host) => [
        host.name,
        host.state,
        host.dataAddress ?? '–',
        host.roles.join(' ') || '–',
        String(host.blobs),
        `${host.uploads} of ${host.uploadSlots}`,
        formatAge(Date.now() - host.heardAtMs),
        Object.entries(host.labels)
          .map(([name, value]) => `${name}=${value}`)
          .join(' '),
        host.peer,
      ]);
      context.answer(
        hosts,
        formatTable(
          ['NAME', 'STATE', 'ADDRESS', 'ROLES', 'BLOBS', 'SERVING', 'HEARD', 'LABELS', 'PEER'],
          rows,
        ),
      );
    },
  }),
];
