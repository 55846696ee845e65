import { useEffect, useState } from 'preact/hooks';
import { call, streamPath } from './api.ts';
import { whyNot } from './records.tsx';
import { Facts } from './facts.tsx';

interface Step {
  readonly step: string;
  readonly is: 'done' | 'pending' | 'unknown';
  readonly text: string;
  readonly facts: Readonly<Record<string, string>>;
}

type Answer =
  | { readonly kind: 'not-asked' }
  | { readonly kind: 'asking' }
  | { readonly kind: 'steps'; readonly of: string; readonly steps: readonly Step[] }
  | { readonly kind: 'failed'; readonly why: string };

const NAMES: Readonly<Record<string, string>> = { log: 'Log', sink: 'Sink', marker: 'Marker' };
const MARKS = { done: '✓', pending: '…', unknown: '?' } as const;
const WORDS = { done: 'done', pending: 'not yet', unknown: 'not known' } as const;

/** The way of one record: from its operation in the log into the sink, and to the marker that says so. */
export function Trace({ stream, asked }: { readonly stream: string; readonly asked: string | null }) {
  const [position, setPosition] = useState(asked ?? '');
  const [answer, setAnswer] = useState<Answer>({ kind: 'not-asked' });
  const ask = async (given: string): Promise<void> => {
    const wanted = given.trim();
    if (!wanted.includes('/')) {
      setAnswer({
        kind: 'failed',
        why: 'A position is written <tablet>/<term>.<index>.<row>, as the header spoor.pos has it.',
      });
      return;
    }
    setAnswer({ kind: 'asking' });
    try {
      const query = new URLSearchParams({ position: wanted });
      const { steps } = await call<{ steps: readonly Step[] }>(
        'GET',
        `${streamPath(stream)}/trace?${query.toString()}`,
      );
      setAnswer({ kind: 'steps', of: wanted, steps });
    } catch (error) {
      setAnswer({ kind: 'failed', why: whyNot(error) });
    }
  };
  useEffect(() => {
    if (asked === null) return;
    setPosition(asked);
    document.getElementById('trace')?.scrollIntoView();
    void ask(asked);
  }, [asked]);
  return (
    <section class="card" aria-labelledby="trace-title" id="trace">
      <h2 id="trace-title">The way of one record</h2>
      <form
        class="one-line"
        onSubmit={(event) => {
          event.preventDefault();
          void ask(position);
        }}
      >
        <label class="field grow">
          <span>spoor.pos of the record</span>
          <input
            class="mono"
            spellcheck={false}
            autocomplete="off"
            placeholder="<tablet>/<term>.<index>.<row>"
            value={position}
            onInput={({ currentTarget }) => setPosition(currentTarget.value)}
          />
        </label>
        <button type="submit" disabled={answer.kind === 'asking'}>
          Show its way
        </button>
      </form>
      <div aria-live="polite">
        {answer.kind === 'asking' && <p class="quiet">Looking for it …</p>}
        {answer.kind === 'failed' && <p class="fault">{answer.why}</p>}
        {answer.kind === 'steps' && (
          <ol class="steps">
            {answer.steps.map(({ step, is, text, facts }) => (
              <li key={step} class={`step step-${is}`}>
                <span class="step-mark" aria-hidden="true">
                  {MARKS[is]}
                </span>
                <div>
                  <strong>{NAMES[step] ?? step}</strong> <span class="quiet">{WORDS[is]}</span>
                  <p>{text}</p>
                  <Facts facts={Object.entries(facts)} />
                </div>
              </li>
            ))}
          </ol>
        )}
      </div>
    </section>
  );
}
