import type { Trouble, VerdictView } from '../api/cluster-state.ts';
import { nowMs } from './clock.ts';
import { openDialog, type Ask } from './dialogs.tsx';
import { operates, verdict } from './feed.ts';
import { streamLink } from './route.ts';
import { ago, moment } from './words.ts';

/** The first glance: whether everything is shipped, and what to do if not. */
export function Verdict() {
  const now = verdict.value;
  if (now === null) return null;
  const tone = toneOf(now);
  return (
    <section class={`verdict verdict-${tone}`} aria-labelledby="verdict-title">
      <div class="verdict-head">
        <span class="verdict-mark" aria-hidden="true">
          {{ good: '✓', warn: '!', bad: '✕' }[tone]}
        </span>
        <div role="status" aria-live="polite">
          <h1 id="verdict-title">{now.headline}</h1>
          <p class="quiet">{now.detail}</p>
        </div>
      </div>
      <Troubles troubles={now.troubles} />
    </section>
  );
}

function toneOf({ kind, troubles }: VerdictView): 'good' | 'warn' | 'bad' {
  if (kind === 'well' || kind === 'empty') return 'good';
  return kind === 'unknown' || troubles.some(({ severity }) => severity === 'down') ? 'bad' : 'warn';
}

export function Troubles({ troubles }: { readonly troubles: readonly Trouble[] }) {
  if (troubles.length === 0) return null;
  return (
    <ol class="troubles">
      {troubles.map((trouble) => (
        <TroubleCard key={trouble.id} trouble={trouble} />
      ))}
    </ol>
  );
}

const SEVERITIES = { down: 'Not shipped', risk: 'At risk', note: 'Note' } as const;
const MAX_TABLES = 3;

function TroubleCard({ trouble }: { readonly trouble: Trouble }) {
  const { severity, what, since, why, code, remedy, tables, streams, tabletCount } = trouble;
  const [stream] = streams;
  const named = tables.slice(0, MAX_TABLES).join(', ');
  const more = tables.length > MAX_TABLES ? ` and ${tables.length - MAX_TABLES} more` : '';
  return (
    <li class={`trouble trouble-${severity}`}>
      <div class="trouble-head">
        <h2>{what}</h2>
        <span class={`tag tag-${severity}`}>{SEVERITIES[severity]}</span>
      </div>
      <dl>
        {since !== null && (
          <>
            <dt>Since</dt>
            <dd>
              {moment(since, nowMs.value)} <span class="quiet">({ago(since, nowMs.value)})</span>
            </dd>
          </>
        )}
        <dt>Why</dt>
        <dd class="reason">
          {why} {code !== null && <code class="code">{code}</code>}
        </dd>
        <dt>What to do</dt>
        <dd>{remedy}</dd>
        {tables.length > 0 && (
          <>
            <dt>Tables</dt>
            <dd>
              {named}
              {more}
            </dd>
          </>
        )}
      </dl>
      <div class="actions">
        {operates.value && <TroubleButton trouble={trouble} />}
        {stream !== undefined && tabletCount > 0 && (
          <a class="button" href={streamLink(stream, { state: stateOf(trouble) })}>
            Show the tablets
          </a>
        )}
      </div>
    </li>
  );
}

/** Ids of troubles begin with the state of their tablets. */
function stateOf({ id }: Trouble): string {
  const [state = 'any'] = id.split('/');
  return ['blocked', 'gap', 'no-sidecar', 'stalled', 'starting', 'paused'].includes(state) ? state : 'any';
}

function TroubleButton({ trouble }: { readonly trouble: Trouble }) {
  const { action, streams, tablets } = trouble;
  if (action === null) return null;
  return (
    <>
      {streams.map((stream) => {
        const ask: Ask =
          action === 'resume'
            ? { kind: 'resume', stream }
            : {
                kind: 'resync',
                stream,
                from: action === 'resync-gap' ? 'gap' : 'snapshot',
                tablets: tablets[stream] ?? [],
              };
        const verb = { resume: 'Resume', 'resync-gap': 'Repair the gaps of', 'resync-snapshot': 'Copy the tablets of' }[
          action
        ];
        return (
          <button
            type="button"
            class="primary"
            key={stream}
            onClick={() => {
              openDialog(ask);
            }}
          >
            {verb} {stream} …
          </button>
        );
      })}
    </>
  );
}
