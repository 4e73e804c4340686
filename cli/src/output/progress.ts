import type { Progress } from '@drakkar/client';
import { formatBytes } from './format.ts';
import { PHASES, type ProgressView } from './progress-view.ts';

export const NO_PROGRESS: ProgressView = { update() {}, [Symbol.dispose]() {} };

/** Loads what draws on terminals only where there is one. */
export async function progressView(output: NodeJS.WriteStream): Promise<ProgressView> {
  if (!output.isTTY) return new LineView(output);
  const { TerminalView } = await import('./terminal-progress.ts');
  return new TerminalView(output);
}

class LineView implements ProgressView {
  readonly #output: NodeJS.WritableStream;
  #phase: Progress['phase'] | undefined;

  constructor(output: NodeJS.WritableStream) {
    this.#output = output;
  }

  update({ phase, totalBytes }: Progress): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    const size = totalBytes > 0 ? ` ${formatBytes(totalBytes)}` : '';
    this.#output.write(`${PHASES[phase]}${size}\n`);
  }

  [Symbol.dispose](): void {}
}
