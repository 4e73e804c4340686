import type { ComponentChildren } from 'preact';
import type { Problem } from '../api.ts';
import { askForToken } from '../session.ts';

/** For who may not, as whom they are signed in. */
export function AnotherToken() {
  return (
    <p>
      <button type="button" class="link" onClick={askForToken}>
        Sign in with another token
      </button>
    </p>
  );
}

/** What went wrong, and what to do about it. */
export function ProblemNotice({ problem }: { readonly problem: Problem | null }) {
  if (problem === null) return null;
  const isForMore = problem.status === 403;
  return (
    <div class="notice bad" role="alert">
      <p>{problem.message}</p>
      {problem.hint !== null && <p class="quiet">{problem.hint}</p>}
      {isForMore && <AnotherToken />}
    </div>
  );
}

/** Something that is not there, and why. */
export function Empty({
  title,
  children,
}: {
  readonly title: string;
  readonly children?: ComponentChildren;
}) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

/** What a list, or one thing of it, shows before it is there. */
export function Waiting({ problem }: { readonly problem: Problem | null }) {
  if (problem !== null) return <ProblemNotice problem={problem} />;
  return (
    <p class="waiting" role="status">
      Loading…
    </p>
  );
}
