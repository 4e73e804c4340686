import type { HostState, JobState, WorkState } from '../documents.ts';

export type Marked = HostState | JobState | WorkState | 'seed';

/** Each state has a shape of its own: colour only helps. In a square of 12. */
const SHAPES: Readonly<
  Record<Marked, { readonly path: string; readonly isFilled?: boolean; readonly tone: string }>
> = {
  connected: { path: 'M6 2.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7z', isFilled: true, tone: 'good' },
  away: { path: 'M6 2.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7z', tone: 'quiet' },
  quarantined: { path: 'M6 1.8L10.8 10H1.2zM6 5v2.2M6 8.6v.1', tone: 'warn' },
  revoked: { path: 'M3 3l6 6M9 3l-6 6', tone: 'bad' },
  waiting: { path: 'M6 2a4 4 0 1 0 0 8a4 4 0 1 0 0-8zM6 4v2.2l1.5 1', tone: 'quiet' },
  running: { path: 'M4 2.5l5.5 3.5L4 9.5z', isFilled: true, tone: 'accent' },
  paused: { path: 'M4.2 2.8v6.4M7.8 2.8v6.4', tone: 'warn' },
  keeping: {
    path: 'M9.8 5a4 4 0 0 0-7.4-1M2.2 7a4 4 0 0 0 7.4 1M2.2 1.6V4h2.4M9.8 10.4V8H7.4',
    tone: 'accent',
  },
  succeeded: { path: 'M2.2 6.4l2.6 2.6L9.8 3.4', tone: 'good' },
  failed: { path: 'M3 3l6 6M9 3l-6 6', tone: 'bad' },
  cancelled: { path: 'M6 2a4 4 0 1 0 0 8a4 4 0 1 0 0-8zM3.3 8.7l5.4-5.4', tone: 'quiet' },
  seed: { path: 'M6 1.5L10.5 6L6 10.5L1.5 6z', isFilled: true, tone: 'accent' },
};

/** A state, as a shape and a word. */
export function Mark({ state, text = state }: { readonly state: Marked; readonly text?: string }) {
  // A newer supernode may have states that this console does not know.
  const { path, isFilled = false, tone } = SHAPES[state] ?? SHAPES.waiting;
  return (
    <span class={`mark ${tone}`}>
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" class={isFilled ? 'filled' : ''}>
        <path d={path} />
      </svg>
      {text}
    </span>
  );
}
