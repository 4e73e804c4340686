import type { Progress } from '@drakkar/client';
import { Presets, SingleBar } from 'cli-progress';
import { formatBytes, formatDuration } from './format.ts';
import { PHASES, type ProgressView } from './progress-view.ts';

/** A bar with rate and remaining time, drawn over itself. */
export class TerminalView implements ProgressView {
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
