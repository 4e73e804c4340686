import type { ComponentChildren } from 'preact';
import { toChildArray } from 'preact';
import type { ApiRole } from '../documents.ts';
import { mayDo, type Need, whyNot } from '../model/roles.ts';
import { caller } from '../session.ts';
import { AnotherToken } from './notice.tsx';

/** Of the one notice of a page: what may not be done is described by it. */
const NOTICE_ID = 'may-not';

/** Whether one may do what takes a role; it changes with whom one signs in as. */
export const may = (role: ApiRole): boolean => mayDo(caller.value, role);

/** Says what of a page one may not do, and why; once on a page. */
export function RoleNotice({ needs }: { readonly needs: readonly Need[] }) {
  const why = whyNot(caller.value, needs);
  if (why === null) return null;
  return (
    <div class="notice" id={NOTICE_ID}>
      <p>{why}</p>
      <AnotherToken />
    </div>
  );
}

interface ActionsProps {
  readonly label: string;
  readonly needs: ApiRole;
  readonly isBusy: boolean;
  readonly children: ComponentChildren;
}

/** What can be done with something: to be seen by all, and done by who may. The page's {@link RoleNotice} says why others may not. */
export function Actions({ label, needs, isBusy, children }: ActionsProps) {
  if (toChildArray(children).length === 0) return null;
  return (
    <fieldset
      class="actions bar"
      aria-label={label}
      disabled={isBusy || !may(needs)}
      {...(may(needs) ? {} : { 'aria-describedby': NOTICE_ID })}
    >
      {children}
    </fieldset>
  );
}
