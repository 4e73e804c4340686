import { type FleetHost, startFleet } from '../fleet/fleet.ts';
import { untilJoined } from '../fleet/until.ts';
import { firstOutput } from '../runner/first-output.ts';
import { pulledBy, startContainerds } from './containerds.ts';
import type { Contender, Host } from './contender.ts';

/** A supernode, and a daemon on each host: containerd fetches through its mirror, and `drakkar run` starts containers. */
export const drakkar: Contender = {
  name: 'drakkar',
  async prepare(site) {
    await using stack = new AsyncDisposableStack();
    const { ground, hosts } = site;
    const fleet = stack.use(await startFleet({ hosts: hosts.length, ground, volumes: true }));
    await untilJoined(fleet);
    const memberOf = ({ index }: Host): FleetHost => {
      const found = fleet.hosts[index];
      if (found === undefined) throw new Error('a host of another site');
      return found;
    };
    const mirrors = await Promise.all(
      fleet.hosts.map(async ({ client }) => (await client.status()).mirrorUrl),
    );
    const { fetch } = await pulledBy(
      site,
      await startContainerds(site, stack),
      ({ index }) => mirrors[index],
    );
    const running = stack.move();
    return {
      fetch,
      start: (host, { reference }) =>
        firstOutput(memberOf(host).command(['run', '--net', 'none', reference])),
      [Symbol.asyncDispose]: () => running.disposeAsync(),
    };
  },
};
