/** Writes what the supernode's API is, from the schemas in its code: the client's types are made from that. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openApi } from '@drakkar/supernode';

const path = join(import.meta.dirname, '../client/openapi.json');
await writeFile(path, `${JSON.stringify(await openApi(), null, 2)}\n`);
