import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { nativeProgram } from '@drakkar/daemon';

/** `$@` are files and directories that are in use all the time: they are read again. */
const SCRIPT = `
sync
echo 3 > /proc/sys/vm/drop_caches
# Files may go meanwhile.
test $# = 0 || find -L "$@" -type f -exec cat {} + > /dev/null 2>&1 || true
`;

/**
 * Drops all that the kernel has cached of disks, when what was written is on them. Needs root.
 *
 * @param kept what stays cached, as programs and servers that never stop
 */
export async function dropCaches(kept: readonly string[] = []): Promise<void> {
  await promisify(execFile)('sh', ['-euc', SCRIPT, 'sh', ...kept]);
}

const TREE = join(import.meta.dirname, '../../..');
/** What the `drakkar` command is made of, as it lies in this tree. */
const COMMAND = ['cli/src', 'client/src', 'errors/src', 'node_modules/.cache'].map((path) =>
  join(TREE, path),
);

/** Files of our own programs and of others on the path. */
export async function programFiles(names: readonly string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)('sh', [
    '-euc',
    'for name; do command -v "$name"; done',
    'sh',
    ...names,
  ]);
  return [process.execPath, nativeProgram(), ...COMMAND, ...stdout.trim().split('\n')];
}
