/**
 * Bundles the console into `dist`, which the supernode serves: `node supernode/console/build.ts`.
 * What is bundled has a digest in its name, so that it may be kept for ever; `index.html` names it.
 */
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const source = join(import.meta.dirname, 'src');
const finished = join(import.meta.dirname, 'dist');
const beginning = `${finished}.${process.pid}.tmp`;

await mkdir(beginning, { recursive: true });
try {
  const { metafile } = await build({
    entryPoints: { console: join(source, 'main.tsx') },
    outdir: beginning,
    entryNames: '[name]-[hash]',
    bundle: true,
    minify: true,
    metafile: true,
    format: 'esm',
    target: ['es2023', 'chrome122', 'firefox128', 'safari17.4'],
    tsconfig: join(import.meta.dirname, 'tsconfig.json'),
    legalComments: 'linked',
    logLevel: 'warning',
  });
  const built = Object.keys(metafile.outputs).map((path) => basename(path));
  const named = (extension: string) => {
    const name = built.find((file) => file.endsWith(extension));
    if (name === undefined) throw new Error(`esbuild has made no ${extension}`);
    return name;
  };
  const page = await readFile(join(source, 'index.html'), 'utf8');
  await writeFile(
    join(beginning, 'index.html'),
    page.replace('main.tsx', named('.js')).replace('style.css', named('.css')),
  );
  await cp(join(source, 'icon.svg'), join(beginning, 'icon.svg'));
  await rm(finished, { recursive: true, force: true });
  await rename(beginning, finished);
} finally {
  await rm(beginning, { recursive: true, force: true });
}
