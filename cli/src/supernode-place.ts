import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { ADMIN_SOCKET_NAME, SupernodeClient, type SupernodePlace } from '@drakkar/client';
import { DrakkarError, errnoOf } from '@drakkar/errors';
import { z } from 'zod';
import type { Context } from './context.ts';

const loginSchema = z.strictObject({
  url: z.url(),
  token: z.string().min(1),
  pin: z.string().optional(),
});
export type Login = z.output<typeof loginSchema>;

/** Where `drakkar login` keeps whom it has logged in to. */
const loginPath = (): string =>
  join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'drakkar', 'login.json');

/** Only its owner may read it. */
export async function keepLogin(login: Login): Promise<string> {
  const path = loginPath();
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, `${JSON.stringify(login, null, 2)}\n`, { mode: 0o600 });
  await chmod(`${path}.new`, 0o600);
  await rename(`${path}.new`, path);
  return path;
}

/** @returns whether there was one */
export async function forgetLogin(): Promise<boolean> {
  const login = await readLogin();
  await rm(loginPath(), { force: true });
  return login !== undefined;
}

/**
 * The supernode that commands speak with: of `$DRAKKAR_API` and `$DRAKKAR_TOKEN`, else that of a `--config`, else that of `drakkar login`, else the one on this
 * host.
 */
export async function supernodeClient(context: Context): Promise<SupernodeClient> {
  return new SupernodeClient(await placeOf(context));
}

async function placeOf(context: Context): Promise<SupernodePlace> {
  const { DRAKKAR_API: url, DRAKKAR_TOKEN: token = '', DRAKKAR_PIN: pin } = process.env;
  if (url) return { url, token, ...(pin ? { pin } : {}) };
  const login = context.configPath === undefined ? await readLogin() : undefined;
  if (login !== undefined) return login;
  const { stateDirectory } = await context.supernodeConfig();
  return { socketPath: join(stateDirectory, ADMIN_SOCKET_NAME) };
}

async function readLogin(): Promise<Login | undefined> {
  const path = loginPath();
  try {
    return loginSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw new DrakkarError('invalid_argument', `${path} can't be read`, {
      hint: '`drakkar login URL` writes it anew, `drakkar logout` removes it',
      cause,
    });
  }
}
