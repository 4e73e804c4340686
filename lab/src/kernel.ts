import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Mount points in a directory or at it, the latest first: as they can be unmounted. */
export function mountsBelow(directory: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').reverse();
  return lines.map((line) => line.split(' ')[4] ?? '').filter((target) => isBelow(target, directory));
}

/** Files in a directory that loop devices are attached to. One that somebody has just looked at is let go a moment later. */
export function loopFilesBelow(directory: string): string[] {
  return readdirSync('/sys/block')
    .map((name) => join('/sys/block', name, 'loop/backing_file'))
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, 'utf8').trim())
    .filter((file) => isBelow(file, directory));
}

/** Whoever reads a file next reads it from its disk. Needs root. */
export function dropCaches(): void {
  execFileSync('sh', ['-c', 'sync; echo 3 > /proc/sys/vm/drop_caches']);
}

const isBelow = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(`${directory}/`);
