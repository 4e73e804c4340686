interface PagerProps {
  /** `after` of each page before this one, the first page without. */
  readonly back: readonly string[];
  readonly next: string | null;
  readonly onChange: (back: readonly string[]) => void;
}

/** To the next page of a list, and back. */
export function Pager({ back, next, onChange }: PagerProps) {
  if (back.length === 0 && next === null) return null;
  return (
    <nav class="pager" aria-label="Pages of the list">
      <button type="button" disabled={back.length === 0} onClick={() => onChange(back.slice(0, -1))}>
        Back
      </button>
      <span class="quiet">Page {back.length + 1}</span>
      <button
        type="button"
        disabled={next === null}
        onClick={() => next !== null && onChange([...back, next])}
      >
        Next
      </button>
    </nav>
  );
}
