import { X509Certificate } from 'node:crypto';
import { copyFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { temporaryDirectory } from '@drakkar/lab';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { ownCertificate } from '../../src/api/certificate.ts';
import { type ApiPlace, type ServeApiOptions, serveApi } from '../../src/api/index.ts';

const DAY_MS = 24 * 60 * 60_000;

/** The API's server in a directory of its own, which looks for another certificate all the time. */
async function serve(directory: string, tls: ServeApiOptions['tls']) {
  const places: ApiPlace[] = [];
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
  const server = await serveApi(
    {
      ...{ address: '127.0.0.1', port: 0, tls, keys: join(directory, 'keys') },
      ...{ socketPath: join(directory, 'admin.sock'), certificateEveryMs: 10 },
    },
    {
      handler: (_request, response) => response.end('here'),
      onPlace: (place) => places.push(place),
      log,
    },
  );
  return {
    places,
    lines,
    shown: () => shownAt(Number(new URL(places[0]?.url ?? '').port)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** What whoever connects now is shown. */
async function shownAt(port: number): Promise<X509Certificate> {
  const { promise, resolve, reject } = Promise.withResolvers<X509Certificate>();
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  socket.once('error', reject);
  socket.once('secureConnect', () => {
    const certificate = socket.getPeerX509Certificate();
    socket.destroy();
    if (certificate === undefined) reject(new Error('no certificate'));
    else resolve(certificate);
  });
  return await promise;
}

test('files are read again when they change; what is no good changes nothing', async () => {
  await using directory = await temporaryDirectory('certificate');
  const at = (name: string) => join(directory.path, name);
  const [first, second] = [
    await ownCertificate(at('first'), '127.0.0.1'),
    await ownCertificate(at('second'), '127.0.0.1'),
  ];
  const [certificateFile, keyFile] = [at('tls.crt'), at('tls.key')];
  await writeFile(certificateFile, first.cert);
  await writeFile(keyFile, first.key);
  await using api = await serve(directory.path, { certificateFile, keyFile });
  const fingerprint = async () => (await api.shown()).fingerprint256;
  const [ofFirst, ofSecond] = [first, second].map(({ cert }) => new X509Certificate(cert).fingerprint256);
  expect(await fingerprint()).toBe(ofFirst);

  const replace = async (path: string, text: string) => {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  };
  await replace(certificateFile, 'no certificate');
  const errors = () => api.lines.filter((line) => line.includes('can’t be used')).length;
  await expect.poll(errors).toBe(1);
  expect(await fingerprint()).toBe(ofFirst);
  // Of another key, as between two writes of who renews it.
  await replace(certificateFile, second.cert);
  await expect.poll(errors).toBe(2);
  expect(await fingerprint()).toBe(ofFirst);

  await replace(keyFile, second.key);
  await expect.poll(fingerprint).toBe(ofSecond);
  expect(api.places.map(({ pin }) => pin)).toEqual([first.pin, second.pin]);
  expect(errors()).toBe(2);
  expect(api.lines.join('')).not.toContain(second.key.split('\n')[1]);
});

test('one of its own is renewed with its key while it is shown', async () => {
  await using directory = await temporaryDirectory('certificate');
  await using api = await serve(directory.path, 'own');
  const own = join(directory.path, 'keys', 'api');
  const before = await api.shown();
  const ends = async () => Date.parse((await api.shown()).validTo) - Date.now();
  expect(await ends()).toBeGreaterThan(300 * DAY_MS);
  // As it is when eleven months have passed.
  const old = join(directory.path, 'old');
  await ownCertificate(old, '127.0.0.1', Date.now() - 330 * DAY_MS);
  await copyFile(join(own, 'api.key.pem'), join(old, 'api.key.pem'));
  const { cert } = await ownCertificate(old, '127.0.0.1', Date.now() - 330 * DAY_MS);
  await writeFile(join(own, 'api.cert.pem.test'), cert);
  await rename(join(own, 'api.cert.pem.test'), join(own, 'api.cert.pem'));
  await expect.poll(async () => (await api.shown()).fingerprint256).not.toBe(before.fingerprint256);
  await expect.poll(ends).toBeGreaterThan(300 * DAY_MS);
  const after = await api.shown();
  expect(after.publicKey.equals(before.publicKey)).toBe(true);
  expect(new Set(api.places.map(({ pin }) => pin)).size).toBe(1);
});
