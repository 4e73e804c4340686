import { useState } from 'preact/hooks';
import { Problem } from '../api.ts';

export interface Action {
  readonly isBusy: boolean;
  readonly problem: Problem | null;
  /** Does it, unless it is being done. */
  run(work: () => Promise<void>): void;
}

/** Something that a person has asked for, and what became of it. */
export function useAction(): Action {
  const [state, setState] = useState<{ isBusy: boolean; problem: Problem | null }>({
    isBusy: false,
    problem: null,
  });
  const run = (work: () => Promise<void>) => {
    if (state.isBusy) return;
    setState({ isBusy: true, problem: null });
    work().then(
      () => setState({ isBusy: false, problem: null }),
      (cause) =>
        setState({
          isBusy: false,
          problem: cause instanceof Problem ? cause : new Problem(0, String(cause)),
        }),
    );
  };
  return { ...state, run };
}
