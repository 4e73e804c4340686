import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { startChild, untilReady } from '../child.ts';
import { freePort } from '../ports.ts';

export interface Etcd extends AsyncDisposable {
  readonly url: string;
  /** Forgets all but what is there now. */
  compact(): Promise<void>;
}

const TRIES = 5;

/** @throws where etcd is not installed, or was not ready in time */
export async function startEtcd(directory: string): Promise<Etcd> {
  for (let left = TRIES - 1; ; left -= 1) {
    try {
      return await startAt(directory, await freePort(), await freePort());
    } catch (error) {
      // Somebody else may have taken a port meanwhile.
      if (left === 0) throw error;
    }
  }
}

async function startAt(directory: string, port: number, peerPort: number): Promise<Etcd> {
  const url = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const name = `lab-${randomUUID()}`;
  await rm(directory, { recursive: true, force: true });
  const child = startChild('etcd', [
    ...['--name', name, '--data-dir', directory, '--log-level', 'warn'],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', `${name}=${peer}`],
  ]);
  /** It may be another one that answers there. */
  const isReady = async () => {
    const members = await ask('cluster/member/list', {}).catch(() => undefined);
    return JSON.stringify(members)?.includes(name) === true;
  };
  const ask = async (path: string, body: object): Promise<unknown> => {
    const answer = await fetch(`${url}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`etcd has answered ${answer.status}: ${await answer.text()}`);
    return await answer.json();
  };
  await untilReady(child, 'etcd', isReady);
  return {
    url,
    async compact() {
      const key = Buffer.from('\0').toString('base64');
      const { header } = (await ask('kv/range', { key })) as { header: { revision: string } };
      await ask('kv/compaction', { revision: header.revision, physical: true });
    },
    [Symbol.asyncDispose]: () => child.stop(),
  };
}
