import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import { CLUSTER_KEY, hasSomething, isThere, syncDirectory } from './files.ts';

/** What stands beside a state directory while another is put in its place. */
const swapSchema = z.strictObject({
  /** What is put there. */
  restored: z.string(),
  /** What was there, where it goes; `null` where nothing was. */
  aside: z.string().nullable(),
});
const MAX_SWAP_BYTES = 64 * 1024;

/** @throws `unavailable` where a restore was ended half way: a supernode that began there would be another one */
export async function requireRestored(stateDirectory: string): Promise<void> {
  const path = swapPath(resolve(stateDirectory));
  if (!(await isThere(path))) return;
  const begun = await readSwap(path);
  const hasMoved = begun !== undefined && (begun.aside === null || (await isThere(begun.aside)));
  if (hasMoved && (await isThere(join(stateDirectory, CLUSTER_KEY)))) return;
  throw new DrakkarError('unavailable', `${stateDirectory} was not restored to the end`, {
    hint: `run \`drakkar supernode restore\` again, then start the supernode; ${path} says what is where`,
  });
}

type Swap = z.output<typeof swapSchema>;

const swapPath = (stateDirectory: string): string => `${stateDirectory}.restoring`;

/** At no moment is the directory missing without the file beside it that says so. */
export async function swap(stateDirectory: string, { restored, aside }: Swap): Promise<void> {
  const parent = dirname(stateDirectory);
  {
    // Whoever the supernode runs as must see it.
    await using file = await open(swapPath(stateDirectory), 'wx', 0o644);
    await file.writeFile(JSON.stringify({ restored, aside } satisfies Swap));
    await file.sync();
  }
  await syncDirectory(parent);
  if (aside !== null) await rename(stateDirectory, aside);
  else await rm(stateDirectory, { recursive: true, force: true });
  await syncDirectory(parent);
  await rename(restored, stateDirectory);
  await syncDirectory(parent);
  await endSwap(stateDirectory);
}

/** Puts back what a restore has put aside that was ended half way; what it had put in its place already stays. */
export async function undoSwap(stateDirectory: string): Promise<void> {
  const path = swapPath(stateDirectory);
  if (!(await isThere(path))) return;
  const begun = await readSwap(path);
  if (begun !== undefined) {
    const { restored, aside } = begun;
    const isOurs = aside?.startsWith(`${stateDirectory}.before-`) === true;
    if (isOurs && !(await hasSomething(stateDirectory)) && (await isThere(aside))) {
      // Somebody may have made an empty one meanwhile.
      await rm(stateDirectory, { recursive: true, force: true });
      await rename(aside, stateDirectory);
      await syncDirectory(dirname(stateDirectory));
    }
    const staging = dirname(restored);
    if (staging.startsWith(`${stateDirectory}.staging-`) && dirname(staging) === dirname(stateDirectory))
      await rm(staging, { recursive: true, force: true });
  }
  await endSwap(stateDirectory);
}

async function endSwap(stateDirectory: string): Promise<void> {
  await rm(swapPath(stateDirectory), { force: true });
  await syncDirectory(dirname(stateDirectory));
}

/** @returns nothing for one that is cut off: it was being written when the crash came, and nothing had been moved */
async function readSwap(path: string): Promise<Swap | undefined> {
  const { size } = await stat(path);
  if (size > MAX_SWAP_BYTES) return undefined;
  try {
    return swapSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}
