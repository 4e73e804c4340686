import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** An authority of a directory's own, whose certificates are good for a few days. */
export class Authority {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async make(directory: string): Promise<Authority> {
    await openssl(directory, 'ca', [
      '-subj',
      '/CN=laboratory',
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
    ]);
    return new Authority(directory);
  }

  get path(): string {
    return join(this.#directory, 'ca.crt');
  }

  /** Files of a certificate and its key, as `NAME.crt` and `NAME.key`. */
  async issue(
    name: string,
    { subject, names = [] }: { readonly subject: string; readonly names?: readonly string[] },
  ): Promise<{ readonly cert: string; readonly key: string }> {
    const alternatives = names.length === 0 ? [] : ['-addext', `subjectAltName=${names.join(',')}`];
    await openssl(this.#directory, name, [
      ...['-subj', subject, '-CA', this.path, '-CAkey', join(this.#directory, 'ca.key')],
      ...['-addext', 'extendedKeyUsage=serverAuth,clientAuth', '-addext', 'basicConstraints=CA:FALSE'],
      ...alternatives,
    ]);
    return { cert: join(this.#directory, `${name}.crt`), key: join(this.#directory, `${name}.key`) };
  }
}

/** An RSA key of its own, with which tokens of service accounts are signed: its private and its public part. */
export async function makeTokenKey(
  directory: string,
): Promise<{ readonly key: string; readonly pub: string }> {
  const [key, pub] = [join(directory, 'sa.key'), join(directory, 'sa.pub')];
  await run('openssl', ['genrsa', '-out', key, '2048']);
  await run('openssl', ['rsa', '-in', key, '-pubout', '-out', pub]);
  return { key, pub };
}

export const contentsOf = async ({ cert, key }: Certificate): Promise<Certificate> => ({
  cert: await readFile(cert, 'utf8'),
  key: await readFile(key, 'utf8'),
});

async function openssl(directory: string, name: string, more: readonly string[]): Promise<void> {
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3'],
    ...['-keyout', join(directory, `${name}.key`), '-out', join(directory, `${name}.crt`), ...more],
  ]);
}
