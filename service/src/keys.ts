import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DrakkarError, errnoOf } from '@drakkar/protocol';

/**
 * An Ed25519 private key in a PEM file that only its owner may read; made when it is first needed.
 *
 * @param loss what it means to move a broken file away and have a new key
 * @throws `invalid_content` for a file that is no Ed25519 private key
 */
export async function loadKey(path: string, loss: string): Promise<KeyObject> {
  try {
    return parseKey(await readFile(path), path, loss);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  const { privateKey } = generateKeyPairSync('ed25519');
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  {
    await using file = await open(`${path}.new`, 'w', 0o600);
    await file.writeFile(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await file.sync();
  }
  await rename(`${path}.new`, path);
  return privateKey;
}

function parseKey(bytes: Buffer, path: string, loss: string): KeyObject {
  try {
    const key = createPrivateKey(bytes);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // Said below, with the path and without the bytes.
  }
  throw new DrakkarError('invalid_content', `${path} is not an Ed25519 private key in PEM`, {
    hint: `move it away and a new one is made; ${loss}`,
  });
}
