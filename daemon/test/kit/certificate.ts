import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';

export interface Certificate extends AsyncDisposable {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  readonly certificateFile: string;
}

/** A certificate that signs itself, for an IP address. */
export async function makeCertificate(address: string): Promise<Certificate> {
  const directory = await temporaryDirectory('certificate');
  const [keyFile, certificateFile] = [join(directory.path, 'key.pem'), join(directory.path, 'cert.pem')];
  const request = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=drakkar`;
  const files = ['-keyout', keyFile, '-out', certificateFile];
  execFileSync('openssl', [...request.split(' '), '-addext', `subjectAltName=IP:${address}`, ...files], {
    stdio: 'ignore',
  });
  return {
    cert: await readFile(certificateFile, 'utf8'),
    key: await readFile(keyFile, 'utf8'),
    certificateFile,
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}
