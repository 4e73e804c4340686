import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { TarItem } from './tar.ts';

/** This machine's own shell as `/bin/sh`, and what it needs: enough for an image whose containers really run. */
export function shellFiles(): TarItem[] {
  const libraries = execFileSync('ldd', ['/bin/dash'], { encoding: 'utf8' });
  const files = ['/bin/dash', ...[...libraries.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '')];
  return [
    ...files.map((path) => ({ name: path.slice(1), mode: 0o755, data: readFileSync(path) })),
    { name: 'bin/sh', type: '2', linkName: 'dash' },
  ];
}
