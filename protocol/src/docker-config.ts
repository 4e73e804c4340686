import { DrakkarError } from '@drakkar/errors';
import { z } from 'zod';

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

/** What stands there for a registry. Keys are hosts or URLs of any age: `ghcr.io`, `https://ghcr.io`, `https://index.docker.io/v1/`. */
export function findByRegistry<T>(
  map: Readonly<Record<string, T>> | undefined,
  registry: string,
): T | undefined {
  for (const [key, value] of Object.entries(map ?? {})) {
    const host = key.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
    const name = host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host;
    if (name === registry) return value;
  }
  return undefined;
}

/** The credential that it holds itself for a registry. */
export function credentialIn(config: DockerConfig, registry: string): RegistryCredential | undefined {
  const entry = findByRegistry(config.auths, registry);
  if (entry === undefined) return undefined;
  if (entry.identitytoken) return { identityToken: entry.identitytoken };
  if (entry.username && entry.password) return { username: entry.username, password: entry.password };
  if (!entry.auth) return undefined;
  const text = Buffer.from(entry.auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon <= 0) return undefined;
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') };
}
