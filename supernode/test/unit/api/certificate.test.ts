import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { ownCertificate, readCertificate } from '../../../src/api/certificate.ts';

test('a certificate of another key is refused; one of its own is made anew with the key', async () => {
  await using directory = await temporaryDirectory('certificate');
  const [mine, other] = ['mine', 'other'].map((name) => join(directory.path, name)) as [string, string];
  const { pin } = await ownCertificate(mine, '127.0.0.1');
  await ownCertificate(other, '127.0.0.1');
  const [cert, key] = ['api.cert.pem', 'api.key.pem'] as const;
  expect(await readCertificate(join(mine, cert), join(mine, key))).toMatchObject({ pin });
  await expect(readCertificate(join(other, cert), join(mine, key))).rejects.toMatchObject({
    code: 'invalid_argument',
  });
  await writeFile(join(mine, cert), await readFile(join(other, cert)));
  expect(await ownCertificate(mine, '127.0.0.1')).toMatchObject({ pin });
});
