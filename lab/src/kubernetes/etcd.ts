import { startChild, untilReady } from '../child.ts';
import { freePort } from '../ports.ts';

export interface Etcd extends AsyncDisposable {
  readonly url: string;
  /** Forgets all but what is there now. */
  compact(): Promise<void>;
}

/** @throws where etcd is not installed, or was not ready in time */
export async function startEtcd(directory: string): Promise<Etcd> {
  const [port, peerPort] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const child = startChild('etcd', [
    ...['--name', 'lab', '--data-dir', directory, '--log-level', 'warn'],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...[
      '--listen-peer-urls',
      peer,
      '--initial-advertise-peer-urls',
      peer,
      '--initial-cluster',
      `lab=${peer}`,
    ],
  ]);
  const healthy = async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok === true;
  await untilReady(child, 'etcd', healthy);
  const ask = async (path: string, body: object): Promise<unknown> => {
    const answer = await fetch(`${url}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`etcd has answered ${answer.status}: ${await answer.text()}`);
    return await answer.json();
  };
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
