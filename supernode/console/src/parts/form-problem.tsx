import { useEffect, useRef } from 'preact/hooks';
import type { Problem } from '../api.ts';
import { ProblemNotice } from './notice.tsx';

interface FormProblemProps {
  readonly problem: Problem | null;
  /** Whether all that is wrong stands at its field. */
  readonly isAtFields: boolean;
}

/** What went wrong with a form; the first field of which that was said takes the focus. */
export function FormProblem({ problem, isAtFields }: FormProblemProps) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (problem === null) return;
    const field = place.current?.closest('form')?.querySelector<HTMLElement>('[aria-invalid="true"]');
    field?.focus();
  }, [problem]);
  return (
    <div ref={place}>
      {isAtFields ? (
        <div class="notice bad" role="alert">
          <p>What is wrong stands at its field.</p>
        </div>
      ) : (
        <ProblemNotice problem={problem} />
      )}
    </div>
  );
}
