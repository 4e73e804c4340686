/** Writes what is made for Kubernetes: from the schemas of our resources their definitions and the page about them, from the alerts a resource of them. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { generated } from '@drakkar/kubernetes';
import { alertsResource } from './alerts.ts';

const root = join(import.meta.dirname, '..');
const alerts = await readFile(join(root, 'deploy/monitoring/alerts.yaml'), 'utf8');
for (const [path, text] of [...generated(), alertsResource(alerts)]) {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}
