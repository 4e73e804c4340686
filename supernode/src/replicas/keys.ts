import { generateKeyPairSync } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError } from '@drakkar/protocol';
import { ABSENT, type StateStore } from '../state/index.ts';
import { isSealed, seal, unseal } from './seal.ts';

const PREFIX = 'keys/';
/** The cluster's first key, and those that have followed it. */
const FILE = /^cluster(?:-[A-Za-z0-9]{1,60})?\.pem$/;
const FIRST = 'cluster.pem';
const MOST = 100;

/** The keys of the cluster, which every supernode has as files and all of them have in the state: whoever comes first makes the first one. */
export class SharedKeys {
  readonly #state: StateStore;
  readonly #directory: string;
  readonly #secret: string | null;

  private constructor(state: StateStore, directory: string, secret: string | null) {
    this.#state = state;
    this.#directory = directory;
    this.#secret = secret;
  }

  /** @param options with what they are sealed in the state; they are as they are where that is `null` */
  static async open(
    state: StateStore,
    directory: string,
    { secretFile }: { readonly secretFile: string | null },
  ): Promise<SharedKeys> {
    const secret = secretFile === null ? null : (await readFile(secretFile, 'utf8')).trim();
    return new SharedKeys(state, directory, secret);
  }

  /** Has the files be what the state has. @throws `already_exists` where this supernode's are another cluster's */
  async pull(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const mine = await this.#files();
    if ((await this.#state.get(PREFIX + FIRST)) === undefined) {
      if (!mine.has(FIRST)) mine.set(FIRST, newKey());
      // The first one last: where it is, all are.
      for (const [name, text] of [...mine].sort(firstLast)) await this.put(name, text);
    }
    for (const { key, value, revision } of await this.#state.list(PREFIX, { limit: MOST })) {
      const name = key.slice(PREFIX.length);
      if (!FILE.test(name)) continue;
      const text = this.#opened(value);
      // There was no secret when it was written.
      if (this.#secret !== null && !isSealed(value))
        await this.#state.commit([{ key, value: seal(text, this.#secret), expects: revision }]);
      const own = (await this.#files()).get(name);
      if (own === text) continue;
      if (own !== undefined) {
        throw new DrakkarError('already_exists', `${join(this.#directory, name)} is another cluster’s`, {
          hint: 'move it away to join the supernodes of this Redis',
        });
      }
      await this.#write(name, text);
    }
  }

  /** @throws `unavailable` where the state has nothing of the cluster any more: whoever has it has lost it */
  async requireThere(): Promise<void> {
    if ((await this.#state.get(PREFIX + FIRST)) !== undefined) return;
    throw new DrakkarError('unavailable', 'Redis has lost what the supernodes share', {
      hint: 'stop all supernodes, and restore a backup: docs/operations.md',
    });
  }

  /** Another supernode may have been faster. */
  async put(name: string, text: string): Promise<void> {
    const value = this.#secret === null ? text : seal(text, this.#secret);
    await this.#state.commit([{ key: PREFIX + name, value, expects: ABSENT }]);
  }

  async #files(): Promise<Map<string, string>> {
    const names = await readdir(this.#directory);
    const files = names.filter((name) => FILE.test(name));
    const texts = await Promise.all(
      files.map(async (name) => [name, await readFile(join(this.#directory, name), 'utf8')] as const),
    );
    return new Map(texts);
  }

  #opened(value: string): string {
    if (!isSealed(value)) return value;
    if (this.#secret !== null) return unseal(value, this.#secret);
    throw new DrakkarError('forbidden', 'the cluster’s keys in Redis are sealed', {
      hint: 'set `state.secretFile` to a file with the secret that the other supernodes have',
    });
  }

  async #write(name: string, text: string): Promise<void> {
    const path = join(this.#directory, name);
    {
      await using file = await open(`${path}.new`, 'w', 0o600);
      await file.writeFile(text);
      await file.sync();
    }
    await rename(`${path}.new`, path);
  }
}

const firstLast = ([one]: readonly [string, string], [other]: readonly [string, string]): number =>
  Number(one === FIRST) - Number(other === FIRST);

function newKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}
