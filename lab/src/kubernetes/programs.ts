import { execFile } from 'node:child_process';
import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { digestOf } from '@drakkar/protocol';
import { keptDirectory } from '../cache.ts';

const run = promisify(execFile);

const MODULE = join(import.meta.dirname, '../../kubernetes');
/** What the module in `lab/kubernetes` is made of. */
const VERSION = { major: '1', minor: '33', git: 'v1.33.13' };
const PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubectl'] as const;
const OUTPUT_BYTES = 16 * 1024 * 1024;
/** On two idle cores it takes six to eight minutes. */
const MOST_MS = 40 * 60_000;

/**
 * Kubernetes' control plane and kubectl, built from their Go modules: minutes the first time, then taken from the cache until the module changes.
 * @returns the directory of the programs @throws where Go is not installed, or can't reach its module proxy
 */
export async function buildKubernetes(): Promise<string> {
  const contents = await Promise.all(
    ['go.mod', 'go.sum', 'main.go'].map((file) => readFile(join(MODULE, file))),
  );
  const { stdout: go } = await run('go', ['version'], { cwd: MODULE });
  const key = digestOf(Buffer.concat([...contents, Buffer.from(go)])).slice(7, 23);
  return await keptDirectory(`kubernetes-${VERSION.git}-${key}`, async (making) => {
    const set = (name: string, value: string) => `-X k8s.io/component-base/version.${name}=${value}`;
    const flags = [
      ...['-s', '-w', set('gitVersion', VERSION.git)],
      ...[set('gitMajor', VERSION.major), set('gitMinor', VERSION.minor)],
    ];
    await run(
      'go',
      ['build', '-trimpath', '-ldflags', flags.join(' '), '-o', join(making, 'kubernetes'), '.'],
      {
        cwd: MODULE,
        env: { ...process.env, CGO_ENABLED: '0' },
        maxBuffer: OUTPUT_BYTES,
        timeout: MOST_MS,
      },
    );
    for (const program of PROGRAMS) await symlink('kubernetes', join(making, program));
  });
}
