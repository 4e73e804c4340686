import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Runs a program to its end.
 *
 * @param atOutput done as soon as it has said something
 * @returns milliseconds from the command line to the first byte on stdout
 * @throws when it fails or says nothing
 */
export async function firstOutput(
  [program = '', ...args]: readonly string[],
  atOutput: () => Promise<void> = async () => {},
): Promise<number> {
  const startedMs = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let wallMs: number | undefined;
  let done: Promise<void> | undefined;
  child.stdout.on('data', () => {
    if (wallMs !== undefined) return;
    wallMs = performance.now() - startedMs;
    done = atOutput();
  });
  const [code] = await closed;
  await done;
  if (code !== 0 || wallMs === undefined) throw new Error(`${program} ended with ${code} and said nothing`);
  return wallMs;
}
