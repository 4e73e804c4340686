import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** `$@` are files and directories that are in use all the time: they are read again. */
const SCRIPT = `
sync
echo 3 > /proc/sys/vm/drop_caches
test $# = 0 || find "$@" -type f -exec cat {} + > /dev/null
`;

/**
 * Drops all that the kernel has cached of disks, when what was written is on them. Needs root.
 *
 * @param kept what stays cached, as programs and servers that never stop
 */
export async function dropCaches(kept: readonly string[] = []): Promise<void> {
  await promisify(execFile)('sh', ['-euc', SCRIPT, 'sh', ...kept]);
}

/** Files of programs on the path. */
export async function programFiles(names: readonly string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)('sh', ['-euc', 'command -v "$@"', 'sh', ...names]);
  return stdout.trim().split('\n');
}
