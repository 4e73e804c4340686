import { DrakkarError } from '@drakkar/errors';
import { z } from 'zod';
import type { ImageReference } from './reference.ts';

/** Who a registry is to take somebody for. */
export interface RegistryCredential {
  readonly username?: string;
  readonly password?: string;
  /** An OAuth2 refresh token, exchanged for access tokens at the registry's realm. */
  readonly identityToken?: string;
}

const authSchema = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
});
const dockerConfigSchema = z.object({
  auths: z.record(z.string(), authSchema).optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});

/** What Docker's `config.json` says of registries. */
export type DockerConfig = z.infer<typeof dockerConfigSchema>;

const MAX_CONFIG_CHARACTERS = 4 * 1024 * 1024;

/** @throws `invalid_content` for what is none */
export function parseDockerConfig(text: string): DockerConfig {
  try {
    if (text.length > MAX_CONFIG_CHARACTERS) throw new Error('it is too large');
    return dockerConfigSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new DrakkarError('invalid_content', 'it is no configuration of Docker’s', { cause });
  }
}

/** What the file before `config.json` held: its `auths` alone. @throws `invalid_content` */
export function parseDockerAuths(text: string): DockerConfig {
  return parseDockerConfig(`{"auths":${text}}`);
}

/** What stands there for a registry as a whole. Keys are hosts or URLs of any age: `ghcr.io`, `https://ghcr.io`, `https://index.docker.io/v1/`. */
export function findByRegistry<T>(
  map: Readonly<Record<string, T>> | undefined,
  registry: string,
): T | undefined {
  return Object.entries(map ?? {}).find(([key]) => placeOf(key).host === registry)?.[1];
}

/**
 * The credential that these hold themselves for a repository. Keys are hosts, whose parts may have a `*`, and may go on with how its name begins: the one that is
 * last in the order of letters counts, which is the longest of those of a host; of the same key, that of the first configuration.
 * Source: Kubernetes, `pkg/credentialprovider/keyring.go`.
 */
export function credentialIn(
  configs: readonly DockerConfig[],
  { registry, repository }: Pick<ImageReference, 'registry' | 'repository'>,
): RegistryCredential | undefined {
  const found = configs.flatMap(({ auths = {} }) =>
    Object.entries(auths).flatMap(([key, auth]) => {
      const { host, path } = placeOf(key);
      const isFor = hostMatches(host, registry) && `/${repository}`.startsWith(path);
      const credential = isFor ? credentialOf(auth) : undefined;
      return credential === undefined ? [] : [{ key: host + path, credential }];
    }),
  );
  return found.sort((one, other) => (one.key < other.key ? 1 : one.key > other.key ? -1 : 0))[0]?.credential;
}

interface Place {
  readonly host: string;
  /** Empty, or with its slash. */
  readonly path: string;
}

const DOCKER_HUB: ReadonlySet<string> = new Set(['index.docker.io', 'registry-1.docker.io']);

function placeOf(key: string): Place {
  const text = key.replace(/^https?:\/\//, '');
  const slash = text.indexOf('/');
  const host = slash < 0 ? text : text.slice(0, slash);
  // Where the two versions of the API begin is the registry as a whole.
  const path = slash < 0 ? '' : text.slice(slash).replace(/^\/v[12]\//, '/');
  return { host: DOCKER_HUB.has(host) ? 'docker.io' : host, path: path === '/' ? '' : path };
}

function hostMatches(glob: string, host: string): boolean {
  const [parts, wanted] = [glob.split('.'), host.split('.')];
  const portOf = (name: string) => /:\d+$/.exec(name)?.[0];
  return (
    portOf(glob) === portOf(host) &&
    parts.length === wanted.length &&
    parts.every((part, index) => partMatches(part, wanted[index] ?? ''))
  );
}

/** In time as its length, however many stars there are. */
function partMatches(glob: string, text: string): boolean {
  const [begin = '', ...rest] = glob.split('*');
  const end = rest.pop();
  if (end === undefined) return text === begin;
  if (!text.startsWith(begin)) return false;
  let at = begin.length;
  for (const each of rest) {
    const found = text.indexOf(each, at);
    if (found < 0) return false;
    at = found + each.length;
  }
  return text.length - end.length >= at && text.endsWith(end);
}

function credentialOf(entry: z.infer<typeof authSchema>): RegistryCredential | undefined {
  if (entry.identitytoken) return { identityToken: entry.identitytoken };
  if (entry.username && entry.password) return { username: entry.username, password: entry.password };
  if (!entry.auth) return undefined;
  const text = Buffer.from(entry.auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon <= 0) return undefined;
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') };
}
