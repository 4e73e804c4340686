import { type Supernode, startSupernode, supernodeConfiguration } from '@drakkar/supernode';

const LOOPBACK = '127.0.0.1';

/** @param port a free one unless it is said */
export function startSupernodeIn(stateDirectory: string, port = 0): Promise<Supernode> {
  const config = supernodeConfiguration.complete({
    stateDirectory,
    address: LOOPBACK,
    port,
    metrics: { port: 0 },
    api: { port: 0 },
    log: { level: 'error' },
  });
  return startSupernode(config);
}

/** Of the daemon of a host that joins it, and completes nothing by itself. */
export const memberOf = (supernode: Supernode, name: string) => ({
  swarm: {
    supernode: supernode.status().address,
    joinToken: supernode.joinToken,
    name,
    address: LOOPBACK,
    controlPort: 0,
    dataPort: 0,
    mdns: false,
  },
  volumes: { background: 'off' },
});
