import { setTimeout as sleep } from 'node:timers/promises';
import { type Context, EXIT_CODES } from '../context.ts';

const INTERVAL_MS = 1_000;

export interface Shown {
  /** One line of JSON each. */
  readonly documents: readonly unknown[];
  readonly text: string;
}

/** Shows something once, or every second until Ctrl-C: a terminal has the last state, a pipe all of them. */
export async function repeat(context: Context, isOn: boolean, look: () => Promise<Shown>): Promise<void> {
  const show = async () => {
    const { documents, text } = await look();
    const clear = isOn && process.stdout.isTTY && !context.json ? '\x1b[H\x1b[2J' : '';
    if (context.json) for (const document of documents) context.answer(document, '');
    else context.answer(documents, clear + text);
  };
  if (!isOn) return await show();
  await watching(context, async () => {
    for (;;) {
      await show();
      await sleep(INTERVAL_MS, undefined, { signal: context.signal });
    }
  });
}

/** Ctrl-C is how somebody who watches ends it: it has its exit code, and needs no words. */
export async function watching(context: Context, watch: () => Promise<void>): Promise<void> {
  try {
    await watch();
  } catch (cause) {
    if (!context.signal.aborted) throw cause;
    process.exitCode = EXIT_CODES.cancelled;
  }
}
