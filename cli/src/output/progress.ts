import type { Progress } from '@drakkar/daemon';
import { Presets, SingleBar } from 'cli-progress';
import { formatBytes, formatDuration } from './format.ts';

/** Shows how far something is: a bar with rate and remaining time on a terminal, one line a phase elsewhere. */
export interface ProgressView extends Disposable {
  update(progress: Progress): void;
}

export const NO_PROGRESS: ProgressView = { update() {}, [Symbol.dispose]() {} };

const PHASES: Readonly<Record<Progress['phase'], string>> = {
  download: 'downloading',
  build: 'building',
  expand: 'expanding',
  verify: 'verifying',
  push: 'pushing',
};

export function progressView(output: NodeJS.WriteStream): ProgressView {
  return output.isTTY ? new TerminalView(output) : new LineView(output);
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

class TerminalView implements ProgressView {
  readonly #bar: SingleBar;
  #phase: Progress['phase'] | undefined;
  #startedAtMs = 0;

  constructor(output: NodeJS.WriteStream) {
    const format = (
      _: unknown,
      params: { progress: number; value: number; total: number },
      payload: unknown,
    ) => {
      const { phase } = payload as { phase: Progress['phase'] };
      const seconds = Math.max(0.001, (Date.now() - this.#startedAtMs) / 1000);
      const rate = params.value / seconds;
      const remaining =
        rate > 0 && params.total > 1 ? formatDuration(((params.total - params.value) / rate) * 1000) : '–';
      const filled = Math.round(params.progress * 30);
      const bar = '█'.repeat(filled) + '░'.repeat(30 - filled);
      const sizes = `${formatBytes(params.value)} of ${formatBytes(params.total)}`;
      return `${PHASES[phase].padEnd(11)} ${bar} ${sizes}  ${formatBytes(rate)}/s  ${remaining} left`;
    };
    this.#bar = new SingleBar(
      { stream: output, format, hideCursor: true, clearOnComplete: true, fps: 10, linewrap: false },
      Presets.shades_classic,
    );
  }

  update({ phase, doneBytes, totalBytes }: Progress): void {
    if (phase !== this.#phase) {
      this.#bar.stop();
      this.#phase = phase;
      this.#startedAtMs = Date.now();
      this.#bar.start(Math.max(1, totalBytes), doneBytes, { phase });
      return;
    }
    this.#bar.setTotal(Math.max(1, totalBytes));
    this.#bar.update(doneBytes, { phase });
  }

  [Symbol.dispose](): void {
    this.#bar.stop();
  }
}
