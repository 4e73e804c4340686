import { call } from '../api.ts';
import { useData } from '../data.ts';
import type { Policy } from '../documents.ts';
import { goTo } from '../location.ts';
import { policyFields } from '../model/policy-form.ts';
import { RoleNotice } from '../parts/allowed.tsx';
import { Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { PolicyForm } from '../parts/policy-form.tsx';

/** Changes a policy. What others change meanwhile is not put in the place of what is being written. */
export function PolicyPage({ id }: { readonly id: string }) {
  const path = `/policies/${encodeURIComponent(id)}`;
  const { value: policy, problem } = useData<Policy>(path);
  const change = async (body: Record<string, unknown>) => {
    await call(path, { method: 'PUT', body });
    goTo('policies');
  };
  return (
    <Page title={policy === null ? 'Policy' : `Policy ${policy.name}`}>
      {policy === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <RoleNotice needs={[{ role: 'operator', what: 'try or change policies' }]} />
          <PolicyForm value={policyFields(policy)} saveText="Save policy" onSave={change} />
        </>
      )}
    </Page>
  );
}
