import { nowMs } from './clock.ts';
import { cluster, connection, operates, watch } from './feed.ts';
import { route } from './route.ts';
import { forget, token } from './session.ts';
import { duration, moment } from './words.ts';

export function Top() {
  const shown = route.value.kind;
  const state = cluster.value;
  return (
    <header class="top">
      <a class="brand" href="#/" aria-label="Spoor, overview">
        <svg viewBox="0 0 16 16" width="20" height="20" aria-hidden="true">
          <rect width="16" height="16" rx="4" class="mark" />
          <circle cx="5" cy="11" r="1.7" fill="#fff" />
          <circle cx="8.2" cy="7.4" r="1.7" fill="#fff" opacity=".8" />
          <circle cx="11.6" cy="4.6" r="1.7" fill="#fff" opacity=".6" />
        </svg>
        Spoor
      </a>
      <nav aria-label="Pages">
        <a href="#/" aria-current={shown === 'overview' ? 'page' : undefined}>
          Overview
        </a>
        {operates.value && (
          <a href="#/new" aria-current={shown === 'new' ? 'page' : undefined}>
            New stream
          </a>
        )}
      </nav>
      <div class="top-end">
        {state?.role === 'read' && <span class="tag">Looks only</span>}
        <Liveness />
        {state && <span class="quiet version">{state.version}</span>}
        {token.value !== null && (
          <button
            type="button"
            class="plain small"
            onClick={() => {
              forget();
              cluster.value = null;
              watch();
            }}
          >
            Forget the token
          </button>
        )}
      </div>
    </header>
  );
}

function Liveness() {
  const { kind } = connection.value;
  const words = { connecting: 'Connecting', live: 'Live', lost: 'Not connected' } as const;
  return (
    <span class={`live live-${kind}`}>
      <span class="dot" aria-hidden="true" />
      {words[kind]}
    </span>
  );
}

/** Said aloud when it comes and goes; what counts down in it is not. */
export function ConnectionBanner() {
  const now = connection.value;
  return (
    <div role="status" aria-live="polite">
      {now.kind === 'lost' && (
        <p class="banner">
          <strong>The connection to the sidecar is lost</strong> since {moment(new Date(now.sinceMs).toISOString())}.{' '}
          {now.why}
          {cluster.value && ' What is shown is as it was then.'} <Countdown untilMs={now.retryAtMs} />
        </p>
      )}
    </div>
  );
}

function Countdown({ untilMs }: { readonly untilMs: number }) {
  const seconds = Math.max(0, Math.ceil((untilMs - nowMs.value) / 1000));
  return <span aria-hidden="true">{seconds > 0 ? `Trying again in ${duration(seconds)}.` : 'Trying again …'}</span>;
}
