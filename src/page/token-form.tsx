import { useState } from 'preact/hooks';
import { watch } from './feed.ts';
import { keep, wanted } from './session.ts';

export function TokenForm() {
  const [given, setGiven] = useState('');
  const refused = wanted.value === 'refused';
  return (
    <section class="card narrow" aria-labelledby="token-title">
      <h1 id="token-title">A token is needed</h1>
      <p class="quiet">
        This sidecar shows the cluster to those who have one: <code>SPOOR_HTTP_TOKEN</code> to operate it,{' '}
        <code>SPOOR_HTTP_TOKEN_READ</code> to look only. It is kept in this tab and forgotten with it.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (given.trim() === '') return;
          keep(given.trim());
          watch();
        }}
      >
        <label class="field">
          <span>Token</span>
          <input
            type="password"
            autocomplete="off"
            value={given}
            aria-invalid={refused}
            aria-describedby={refused ? 'token-wrong' : undefined}
            onInput={({ currentTarget }) => {
              setGiven(currentTarget.value);
            }}
          />
        </label>
        {refused && (
          <p id="token-wrong" class="fault" role="alert">
            The sidecar does not take this token.
          </p>
        )}
        <button type="submit" class="primary">
          Show the cluster
        </button>
      </form>
    </section>
  );
}
