import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import {
  credentialIn,
  type DockerConfig,
  DrakkarError,
  errnoOf,
  findByRegistry,
  parseDockerConfig,
  type RegistryCredential,
} from '@drakkar/protocol';
import { z } from 'zod';
import type { UpstreamOptions } from './options.ts';

const helperAnswerSchema = z.object({ Username: z.string(), Secret: z.string() });
const MAX_HELPER_OUTPUT_CHARACTERS = 64 * 1024;
/** Docker's name for Docker Hub. */
const HUB_KEY = 'https://index.docker.io/v1/';
/** The user name by which helpers mark a refresh token. Source: docker-credential-helpers. */
const TOKEN_USER = '<token>';

/** The credential for a repository; `undefined` for none. */
export type StoredCredentials = (repository: string) => RegistryCredential | undefined;

/** The daemon's own credentials for a registry: from the options, else from Docker's configuration. */
export async function storedCredentials(
  registry: string,
  options: Pick<UpstreamOptions, 'credentials' | 'dockerConfigFile' | 'credentialHelperTimeoutMs'>,
): Promise<StoredCredentials> {
  const configured = options.credentials[registry];
  if (configured !== undefined) return () => configured;
  if (options.dockerConfigFile === null) return () => undefined;
  const config = await readDockerConfig(options.dockerConfigFile);
  if (config === undefined) return () => undefined;
  const key = registry === 'docker.io' ? HUB_KEY : registry;
  const helper = findByRegistry(config.credHelpers, registry) ?? config.credsStore;
  if (helper !== undefined) {
    const found = await askHelper(helper, key, options.credentialHelperTimeoutMs);
    if (found !== undefined) return () => found;
  }
  return (repository) => credentialIn([config], { registry, repository });
}

/** @throws `invalid_argument` for a file that is there and makes no sense */
async function readDockerConfig(file: string): Promise<DockerConfig | undefined> {
  try {
    const text = await readFile(file, 'utf8');
    return parseDockerConfig(text);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw new DrakkarError('invalid_argument', `Docker’s configuration ${file} cannot be used`, {
      hint: 'repair it, or set registries.dockerConfigFile to null',
      cause,
    });
  }
}

/** Runs `docker-credential-NAME get`. `undefined` when it has nothing for the registry. */
async function askHelper(
  name: string,
  serverUrl: string,
  timeoutMs: number,
): Promise<RegistryCredential | undefined> {
  const program = `docker-credential-${name}`;
  const fail = (why: string, cause?: unknown): DrakkarError =>
    new DrakkarError('unauthorized', `the credential helper ${program} ${why} for ${serverUrl}`, {
      hint: 'run it by hand, or remove it from Docker’s configuration',
      cause,
    });
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw fail('has an impossible name');
  const child = spawn(program, ['get'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (output.length > MAX_HELPER_OUTPUT_CHARACTERS) child.kill('SIGKILL');
  });
  child.stdin.on('error', () => {});
  child.stdin.end(`${serverUrl}\n`);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(fail('cannot be run', cause)));
    child.once('close', resolve);
  });
  if (code === null) throw fail('gave no answer in time, or too long a one');
  if (code !== 0) {
    if (/credentials not found/i.test(output)) return undefined;
    throw fail(`failed with exit code ${code}`);
  }
  try {
    const { Username, Secret } = helperAnswerSchema.parse(JSON.parse(output));
    return Username === TOKEN_USER ? { identityToken: Secret } : { username: Username, password: Secret };
  } catch (cause) {
    throw fail('gave no valid answer', cause);
  }
}
