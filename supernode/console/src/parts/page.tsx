import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { route } from '../location.ts';

interface PageProps {
  readonly title: string;
  /** Stands beside the title: what can be done here. */
  readonly actions?: ComponentChildren;
  /** One sentence below the title. */
  readonly lead?: ComponentChildren;
  readonly children?: ComponentChildren;
}

/** Where one was when a heading took the focus; where one begins, the focus stays at the top. */
let was = placeNow();

/** A page: its heading takes the focus when one comes to it, so that a screen reader says where one is. */
export function Page({ title, actions, lead, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const now = placeNow();
    if (now === was) return;
    was = now;
    heading.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, []);
  useEffect(() => {
    document.title = `${title} – Drakkar`;
  }, [title]);
  return (
    <>
      <header class="page-head">
        <div class="page-title">
          <h1 tabIndex={-1} ref={heading}>
            {title}
          </h1>
          {lead !== undefined && <p class="lead">{lead}</p>}
        </div>
        {actions !== undefined && <div class="actions">{actions}</div>}
      </header>
      {children}
    </>
  );
}

function placeNow(): string {
  const { page, id } = route.peek();
  return `${page}/${id}`;
}
