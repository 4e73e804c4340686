/**
 * What `node:https` alone makes of the same work: bodies from memory, mutual TLS with certificates of peers, nothing hashed or kept.
 * `serve` answers every GET with a body and prints its port; `fetch PORT BYTES` reads so many bytes in all and prints the time that it took.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Agent, createServer, get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { loadSwarm } from '@drakkar/daemon';

const BODY_BYTES = 4 * 1024 * 1024;
/** One request after another leaves the line idle in between; more than these made it no faster. */
const REQUESTS = 4;

const { certificateFor } = await loadSwarm();
const { certificate: cert, key } = await certificateFor(generateKeyPairSync('ed25519').privateKey);
const tls = { cert, key, minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' } as const;

function serve(): void {
  const body = randomBytes(BODY_BYTES);
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, (_, response) => {
    response.writeHead(200, { 'content-length': body.length }).end(body);
  });
  server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
}

async function fetchAll(port: number, bytes: number): Promise<void> {
  const agent = new Agent({ ...tls, keepAlive: true, maxSockets: REQUESTS, rejectUnauthorized: false });
  const bodies = Array.from({ length: Math.ceil(bytes / BODY_BYTES) }, (_, index) => index).values();
  const fetchNext = async () => {
    for (const _ of bodies) {
      await new Promise<void>((resolve, reject) => {
        const request = get({ host: '127.0.0.1', port, agent }, (response) => {
          response.on('data', () => {});
          response.on('end', resolve);
        });
        request.on('error', reject);
      });
    }
  };
  const startedMs = performance.now();
  const cpuBefore = process.cpuUsage();
  await Promise.all(Array.from({ length: REQUESTS }, fetchNext));
  const { user, system } = process.cpuUsage(cpuBefore);
  console.log(JSON.stringify({ wallMs: performance.now() - startedMs, cpuMs: (user + system) / 1000 }));
  agent.destroy();
}

const [, , verb, port, bytes] = process.argv;
if (verb === 'serve') serve();
else await fetchAll(Number(port), Number(bytes));
