/** Writes what is made from the schemas of our Kubernetes resources: their definitions for the API server, and the page about them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { generated } from '@drakkar/kubernetes';

const root = join(import.meta.dirname, '..');
for (const [path, text] of generated()) {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}
