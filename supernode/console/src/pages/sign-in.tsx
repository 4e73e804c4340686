import { useState } from 'preact/hooks';
import { TextField } from '../parts/fields.tsx';
import { Page } from '../parts/page.tsx';
import { access, signedOutBecause, signIn } from '../session.ts';

/** Asks for a token where the supernode lets nobody in without one. */
export function SignInPage() {
  const [text, setText] = useState('');
  const submit = (event: Event) => {
    event.preventDefault();
    // What is not printable ASCII is no token, and no header either.
    if (/^[!-~]+$/.test(text.trim())) signIn(text.trim());
    else signedOutBecause.value = 'This is no token.';
  };
  return (
    <main class="sign-in" id="main">
      <Page
        title="Sign in"
        lead={
          access.value === 'asked' ? 'Another token may do more.' : 'This supernode wants to know who looks.'
        }
      >
        <form class="form" onSubmit={submit}>
          {signedOutBecause.value !== null && (
            <div class="notice bad" role="alert">
              <p>{signedOutBecause.value}</p>
            </div>
          )}
          <TextField
            label="Token"
            isSecret
            isRequired
            hint="It stays in this tab, and is gone when you close it."
            value={text}
            onChange={setText}
          />
          <div class="actions">
            <button type="submit" class="primary">
              Sign in
            </button>
            {access.value === 'asked' && (
              <button type="button" onClick={goOn}>
                Go on as before
              </button>
            )}
          </div>
          <p class="quiet">
            On the supernode’s host, <code>drakkar token create</code> makes one. A viewer may look, an
            operator may run jobs, an admin may do everything.
          </p>
        </form>
      </Page>
    </main>
  );
}

function goOn(): void {
  access.value = 'open';
}
