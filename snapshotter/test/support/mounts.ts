import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Mounted extends Disposable {
  readonly path: string;
}

/** The kernel's own EROFS, on loop devices: the form that every kernel has. Needs root. */
export function mountErofs(imagePath: string, devicePaths: readonly string[] = []): Mounted {
  const path = mkdtempSync(join(tmpdir(), 'drakkar-mount-'));
  const loops: string[] = [];
  const release = () => {
    for (const loop of loops) execFileSync('losetup', ['--detach', loop]);
    rmdirSync(path);
  };
  try {
    for (const file of [imagePath, ...devicePaths]) {
      const output = execFileSync('losetup', ['--find', '--show', '--read-only', file], { encoding: 'utf8' });
      loops.push(output.trim());
    }
    const [image = '', ...devices] = loops;
    const options = ['ro', ...devices.map((device) => `device=${device}`)].join(',');
    execFileSync('mount', ['-t', 'erofs', '-o', options, image, path], { stdio: 'pipe' });
  } catch (error) {
    release();
    throw error;
  }
  return {
    path,
    [Symbol.dispose]() {
      execFileSync('umount', [path]);
      release();
    },
  };
}
