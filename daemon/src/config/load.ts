import { readFile } from 'node:fs/promises';
import { DEFAULT_CONFIG_PATH } from '@drakkar/client';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { parse } from 'yaml';
import { type Config, configSchema } from './schema.ts';

/**
 * Raw options in, complete options out.
 *
 * @throws `invalid_argument` that names the first thing wrong, by its path
 */
export function completeConfig(raw: unknown, source = 'the configuration'): Config {
  const result = configSchema.safeParse(raw ?? {});
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue === undefined || issue.path.length === 0 ? 'its top level' : issue.path.join('.');
  throw new DrakkarError('invalid_argument', `${source}: ${path}: ${issue?.message ?? 'is not valid'}`, {
    hint: 'see docs/configuration.md, or `drakkar config default`',
  });
}

/**
 * Reads a YAML file. The default file may be absent; one that was named may not.
 *
 * @throws `not_found` | `invalid_argument`
 */
export async function loadConfig(path?: string): Promise<Config> {
  const file = path ?? DEFAULT_CONFIG_PATH;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (path === undefined && errnoOf(cause) === 'ENOENT') return completeConfig({});
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new DrakkarError('not_found', `the configuration file can't be read: ${message}`, { cause });
  }
  let raw: unknown;
  try {
    raw = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new DrakkarError('invalid_argument', `${file} is not YAML: ${message}`, { cause });
  }
  return completeConfig(raw, file);
}
