import type { SwarmHost } from '@drakkar/client';
import { defineCommand } from '../command-line/command.ts';
import { formatAge, formatTable } from '../output/format.ts';
import { repeat } from '../output/repeat.ts';
import { supernodeClient } from '../supernode-place.ts';

/** `drakkar hosts`: the members of the cluster. */
export const commands = [
  defineCommand({
    name: 'hosts',
    summary: 'list the hosts of the cluster, by their names',
    configures: 'supernode',
    positionals: [],
    options: { watch: { summary: 'show them again every second' } },
    async run(context, _, { watch }) {
      const client = await supernodeClient(context);
      await repeat(context, watch, async () => {
        const hosts = await client.hosts({}, { signal: context.signal });
        return { documents: hosts, text: hostTable(hosts, Date.now()) };
      });
    },
  }),
];

function hostTable(hosts: readonly SwarmHost[], nowMs: number): string {
  const rows = hosts.map((host) => [
    host.name,
    host.state,
    host.dataAddress ?? '–',
    host.roles.join(' ') || '–',
    String(host.blobs),
    `${host.uploads} of ${host.uploadSlots}`,
    formatAge(nowMs - host.heardAtMs),
    Object.entries(host.labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
    host.peer,
  ]);
  const headings = ['NAME', 'STATE', 'ADDRESS', 'ROLES', 'BLOBS', 'SERVING', 'HEARD', 'LABELS', 'PEER'];
  return formatTable(headings, rows);
}
