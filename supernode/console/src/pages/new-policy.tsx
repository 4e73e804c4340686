import { call } from '../api.ts';
import { goTo } from '../location.ts';
import { EMPTY_POLICY } from '../model/policy-form.ts';
import { RoleNotice } from '../parts/allowed.tsx';
import { Page } from '../parts/page.tsx';
import { PolicyForm } from '../parts/policy-form.tsx';

export function NewPolicyPage() {
  const create = async (body: Record<string, unknown>) => {
    await call('/policies', { method: 'POST', body });
    goTo('policies');
  };
  return (
    <Page title="New policy">
      <RoleNotice needs={[{ role: 'operator', what: 'try or make policies' }]} />
      <PolicyForm value={EMPTY_POLICY} saveText="Create policy" onSave={create} />
    </Page>
  );
}
