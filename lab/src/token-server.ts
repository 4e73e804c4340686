import { execFileSync } from 'node:child_process';
import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { RegistryOptions } from './registry.ts';

export interface TokenServerOptions {
  readonly users: Readonly<Record<string, string>>;
  /** Identity tokens, as `docker login` gets them, to the users that they stand for. */
  readonly identities?: Readonly<Record<string, string>>;
  /** Whether a user (`undefined` for nobody) may do something (`pull`, `push`) in a repository. */
  readonly allows: (user: string | undefined, repository: string, action: string) => boolean;
}

/** A token server as registries know it, with rights per user and repository. */
export interface TokenServer extends AsyncDisposable {
  /** For `startRegistry({ token })`. */
  readonly token: NonNullable<RegistryOptions['token']>;
}

const ISSUER = 'drakkar-lab';
const SERVICE = 'drakkar-lab-registry';
const TOKEN_SECONDS = 300;

/** Source: distribution, docs/spec/auth/{token,jwt,oauth}.md. @throws when openssl is not installed */
export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const { users, identities = {}, allows } = options;
  const directory = await mkdtemp(join(tmpdir(), 'drakkar-tokens-'));
  const [keyFile, certificateFile] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
  const request = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=${ISSUER}`;
  execFileSync('openssl', [...request.split(' '), '-keyout', keyFile, '-out', certificateFile], {
    stdio: 'ignore',
  });
  const key = createPrivateKey(await readFile(keyFile));
  const chain = [new X509Certificate(await readFile(certificateFile)).raw.toString('base64')];

  const tokenFor = (user: string | undefined, scopes: readonly string[]): string => {
    const now = Math.floor(Date.now() / 1000);
    const access = scopes.map((scope) => {
      const [type = '', name = '', actions = ''] = scope.split(':');
      return { type, name, actions: actions.split(',').filter((action) => allows(user, name, action)) };
    });
    const payload = {
      iss: ISSUER,
      aud: SERVICE,
      sub: user ?? '',
      exp: now + TOKEN_SECONDS,
      nbf: now - 10,
      iat: now,
      jti: randomUUID(),
      access,
    };
    const signed = [{ typ: 'JWT', alg: 'ES256', x5c: chain }, payload]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  };

  /** By name and password, or by an identity token. `null` for who is not who they say. */
  const callerOf = (authorization: string | undefined, form: URLSearchParams): string | undefined | null => {
    const identity = form.get('refresh_token');
    if (identity !== null) return identities[identity] ?? null;
    const name = form.get('username');
    if (name !== null) return users[name] === form.get('password') ? name : null;
    const [, encoded] = /^Basic (.+)$/.exec(authorization ?? '') ?? [];
    if (encoded === undefined) return undefined;
    const [user = '', password] = Buffer.from(encoded, 'base64').toString('utf8').split(':');
    return users[user] === password ? user : null;
  };

  const server = createServer(async (incoming, outgoing) => {
    const form = new URLSearchParams(incoming.method === 'POST' ? await text(incoming) : '');
    const { searchParams } = new URL(incoming.url ?? '/', 'http://tokens');
    const user = callerOf(incoming.headers.authorization, form);
    if (user === null) {
      outgoing.writeHead(401).end();
      return;
    }
    const scopes = [...searchParams.getAll('scope'), ...(form.get('scope')?.split(' ') ?? [])];
    outgoing.setHeader('content-type', 'application/json');
    // An answer to a POST has another name for it.
    const name = incoming.method === 'POST' ? 'access_token' : 'token';
    outgoing.end(JSON.stringify({ [name]: tokenFor(user, scopes), expires_in: TOKEN_SECONDS }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  return {
    token: { realm, service: SERVICE, issuer: ISSUER, certificateFile },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await rm(directory, { recursive: true, force: true });
    },
  };
}
