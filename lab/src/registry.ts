import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, startChild, untilReady } from './child.ts';
import { freePort } from './ports.ts';

export interface RegistryOptions {
  /** Basic authentication: user names to passwords. Everybody may do everything when absent. */
  readonly users?: Readonly<Record<string, string>>;
  /** Bearer authentication by a token server, see `startTokenServer`. */
  readonly token?: {
    readonly realm: string;
    readonly service: string;
    readonly issuer: string;
    /** PEM file of the certificates that may sign tokens. */
    readonly certificateFile: string;
  };
  /** Where blobs are kept, and stay. Without it, in a directory that goes with the registry. */
  readonly storageDirectory?: string;
  /** Serve HTTPS with these PEM files. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string };
  /** A free one when absent. */
  readonly port?: number;
  /** Where it listens; on loopback when absent. */
  readonly address?: string;
  /** Whom it tells of pushes and pulls, and with which headers. */
  readonly notifies?: { readonly url: string; readonly headers: Readonly<Record<string, string>> };
  /** Makes a command line that runs elsewhere: in a network namespace. */
  readonly within?: (command: string, args: readonly string[]) => readonly [string, readonly string[]];
}

/** A running `docker-registry` (distribution 2.8, which has no referrers API). */
export interface Registry extends AsyncDisposable {
  /** `ADDRESS:PORT`, as image references name it. */
  readonly host: string;
  readonly url: string;
  readonly directory: string;
  stop(): Promise<void>;
}

const START_TRIES = 3;

/** bcrypt, the only hash that docker-registry reads, made by perl-base and the system's libcrypt. */
function htpasswdLine(user: string, password: string): string {
  const salt = `$2b$05$${randomBytes(11).toString('hex')}`;
  const hash = execFileSync('perl', ['-e', 'print crypt($ARGV[0], $ARGV[1])', password, salt], {
    encoding: 'utf8',
  });
  if (!hash.startsWith('$2b$')) throw new Error('this system’s libcrypt has no bcrypt');
  return `${user}:${hash}\n`;
}

/** @throws when docker-registry is not installed, or was not ready within 30 s */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const directory = await mkdtemp(join(tmpdir(), 'drakkar-registry-'));
  try {
    return await startIn(directory, options);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(directory: string, options: RegistryOptions): Promise<Registry> {
  const storage = options.storageDirectory ?? join(directory, 'storage');
  await mkdir(storage, { recursive: true });
  const passwords = join(directory, 'htpasswd');
  if (options.users !== undefined) {
    const lines = Object.entries(options.users).map(([user, password]) => htpasswdLine(user, password));
    await writeFile(passwords, lines.join(''), { mode: 0o600 });
  }
  const address = options.address ?? '127.0.0.1';
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort());
    const config = join(directory, 'config.json');
    await writeFile(config, JSON.stringify(configuration(port, storage, passwords, options)));
    const args = ['serve', config] as const;
    const [command, all] = options.within?.('docker-registry', args) ?? ['docker-registry', args];
    const child = startChild(command, all);
    const url = `${options.tls === undefined ? 'http' : 'https'}://${address}:${port}`;
    try {
      await untilReady(child, 'docker-registry', () => answers(address, port));
    } catch (error) {
      if (attempt < START_TRIES && child.output().includes('address already in use')) continue;
      throw error;
    }
    return running(child, directory, `${address}:${port}`, url);
  }
}

function configuration(port: number, storage: string, passwords: string, options: RegistryOptions): object {
  const { token, tls, users } = options;
  const auth =
    token !== undefined
      ? {
          token: {
            realm: token.realm,
            service: token.service,
            issuer: token.issuer,
            rootcertbundle: token.certificateFile,
          },
        }
      : users !== undefined
        ? { htpasswd: { realm: 'drakkar-lab', path: passwords } }
        : undefined;
  return {
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: storage },
      delete: { enabled: true },
      maintenance: { uploadpurging: { enabled: false } },
    },
    http: {
      addr: `${options.address ?? '127.0.0.1'}:${port}`,
      secret: randomBytes(16).toString('hex'),
      ...(tls === undefined ? {} : { tls: { certificate: tls.certificateFile, key: tls.keyFile } }),
    },
    ...(auth === undefined ? {} : { auth }),
    ...(options.notifies === undefined ? {} : { notifications: notifications(options.notifies) }),
  };
}

function notifications({ url, headers }: NonNullable<RegistryOptions['notifies']>): object {
  const lists = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
  const times = { timeout: '2s', threshold: 3, backoff: '200ms' };
  return { endpoints: [{ name: 'told', url, headers: lists, ...times }] };
}

function running(child: Child, directory: string, host: string, url: string): Registry {
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= child.stop().then(() => rm(directory, { recursive: true, force: true }));
    return stopped;
  };
  return { host, url, directory, stop, [Symbol.asyncDispose]: stop };
}

/** Any HTTP answer will do, a 401 or a complaint about missing TLS too: the server is up. */
async function answers(address: string, port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://${address}:${port}/v2/`, { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return true;
  } catch {
    return false;
  }
}
