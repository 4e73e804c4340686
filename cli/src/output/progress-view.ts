import type { Progress } from '@drakkar/client';

/** Shows how far something is: a bar with rate and remaining time on a terminal, one line a phase elsewhere. */
export interface ProgressView extends Disposable {
  update(progress: Progress): void;
}

/** How each phase is called in front of people. */
export const PHASES: Readonly<Record<Progress['phase'], string>> = {
  download: 'downloading',
  build: 'building',
  expand: 'expanding',
  verify: 'verifying',
  push: 'pushing',
};
