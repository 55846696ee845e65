import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { StreamState } from '../api/cluster-state.ts';
import { call, reasonOf, streamPath } from './api.ts';
import { streams, tablets } from './feed.ts';
import { bytes, plural } from './words.ts';

/** What is to be done to a stream, once somebody has read what that means. */
export type Ask =
  | { readonly kind: 'pause' | 'resume' | 'delete'; readonly stream: string }
  | {
      readonly kind: 'resync';
      readonly stream: string;
      readonly from: 'snapshot' | 'gap';
      /** Only these; all where there are none. */
      readonly tablets: readonly string[];
    };

const asked = signal<Ask | null>(null);

export function openDialog(ask: Ask): void {
  asked.value = ask;
}

/** Shows the dialog that was asked for, above everything else. */
export function DialogHost() {
  const ask = asked.value;
  return ask === null ? null : <ActionDialog key={JSON.stringify(ask)} ask={ask} />;
}

interface Plan {
  readonly title: string;
  readonly button: string;
  readonly isGrave: boolean;
  readonly consequences: readonly string[];
  readonly run: () => Promise<unknown>;
}

function ActionDialog({ ask }: { readonly ask: Ask }) {
  const element = useRef<HTMLDialogElement>(null);
  const [from, setFrom] = useState(ask.kind === 'resync' ? ask.from : 'snapshot');
  const [typed, setTyped] = useState('');
  const [isRunning, setRunning] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const plan = planOf(ask.kind === 'resync' ? { ...ask, from } : ask);
  const isReady = ask.kind !== 'delete' || typed === ask.stream;

  // In the same step as the element comes: a key pressed in between would go to the page behind it.
  useLayoutEffect(() => {
    const opener = document.activeElement;
    element.current?.showModal();
    // The browser does so where the dialog stays in the page; this one goes.
    return () => {
      if (opener instanceof HTMLElement) opener.focus();
    };
  }, []);
  const close = (): void => {
    element.current?.close();
  };
  const run = async (): Promise<void> => {
    setRunning(true);
    setFailure(null);
    try {
      await plan.run();
      close();
      if (ask.kind === 'delete') location.hash = '#/';
    } catch (error) {
      setFailure(reasonOf(error));
      setRunning(false);
    }
  };

  return (
    <dialog
      ref={element}
      aria-labelledby="dialog-title"
      onClose={() => {
        asked.value = null;
      }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isReady && !isRunning) void run();
        }}
      >
        <h2 id="dialog-title">{plan.title}</h2>
        {ask.kind === 'resync' && <ResyncChoice from={from} choose={setFrom} />}
        <ul class="consequences">
          {plan.consequences.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
        {ask.kind === 'delete' && (
          <label class="field">
            <span>
              Type the name of the stream, <strong>{ask.stream}</strong>
            </span>
            <input
              autocomplete="off"
              spellcheck={false}
              value={typed}
              onInput={({ currentTarget }) => {
                setTyped(currentTarget.value);
              }}
            />
          </label>
        )}
        {failure !== null && (
          <p class="fault" role="alert">
            {failure}
          </p>
        )}
        <div class="actions end">
          <button type="button" onClick={close}>
            Leave it as it is
          </button>
          <button type="submit" class={plan.isGrave ? 'danger' : 'primary'} disabled={!isReady || isRunning}>
            {isRunning ? 'One moment …' : plan.button}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function ResyncChoice({
  from,
  choose,
}: {
  readonly from: 'snapshot' | 'gap';
  readonly choose: (from: 'snapshot' | 'gap') => void;
}) {
  const option = (value: 'snapshot' | 'gap', text: ComponentChildren) => (
    <label class="choice">
      <input
        type="radio"
        name="from"
        checked={from === value}
        onChange={() => {
          choose(value);
        }}
      />
      <span>{text}</span>
    </label>
  );
  return (
    <fieldset class="choices">
      <legend>What is read from the tables</legend>
      {option('gap', 'Only what is missing where the log has a gap')}
      {option('snapshot', 'All rows, as they are now')}
    </fieldset>
  );
}

function planOf(ask: Ask): Plan {
  const { stream: name } = ask;
  const stream = streams.value.find((each) => each.name === name);
  const own = tablets.value.filter((tablet) => tablet.stream === name);
  const held = `${bytes(own.reduce((sum, { hold }) => sum + (hold?.bytes ?? 0), 0))} at the moment`;
  switch (ask.kind) {
    case 'pause':
      return {
        title: `Pause ${name}`,
        button: 'Pause the stream',
        isGrave: false,
        consequences: [
          'Nothing of it is shipped until it is resumed; consumers see no new records.',
          `Nothing is lost: the log of its ${plural(own.length, 'tablet')} is held on the disks of the tablet servers, ${held} and more with each write.`,
          'What a limit lets go of meanwhile (SPOOR_HOLD_MAX_BYTES, SPOOR_HOLD_MAX_AGE_S, SPOOR_HOLD_MIN_FREE_PERCENT) has to be repaired from the tables afterwards.',
        ],
        run: () => call('POST', `${streamPath(name)}/pause`),
      };
    case 'resume':
      return {
        title: `Resume ${name}`,
        button: 'Resume the stream',
        isGrave: false,
        consequences: [
          `Its ${plural(own.length, 'tablet')} go on where they stopped. What was written meanwhile is shipped as fast as the sink takes it: ${held} of log are held.`,
        ],
        run: () => call('POST', `${streamPath(name)}/resume`),
      };
    case 'resync':
      return {
        title: `Resync ${name}`,
        button: ask.from === 'gap' ? 'Repair the gaps' : 'Copy the rows again',
        isGrave: false,
        consequences: resyncConsequences(ask, own.length),
        run: () =>
          call('POST', `${streamPath(name)}/resync`, {
            from: ask.from,
            ...(ask.tablets.length > 0 && { tablets: ask.tablets }),
          }),
      };
    case 'delete':
      return {
        title: `Delete ${name}`,
        button: 'Delete the stream',
        isGrave: true,
        consequences: deleteConsequences(stream, own.length),
        run: () => call('DELETE', streamPath(name)),
      };
  }
}

function resyncConsequences({ from, tablets: only }: Extract<Ask, { kind: 'resync' }>, all: number): string[] {
  const of = only.length > 0 ? plural(only.length, 'tablet') : `all ${plural(all, 'tablet')}`;
  const common =
    'The stream goes on meanwhile, and writers to the tables are not held up; the tablet servers are read from.';
  return from === 'gap'
    ? [
        `Where the log of ${of} has a gap, what changed in it is read from the table, deletes included. Of a row that changed several times only its last value comes.`,
        'Tablets without a gap are left alone.',
        common,
      ]
    : [
        `All rows of ${of} come once more, as the tables have them now: consumers see each row again, as a record of a copy.`,
        'The log up to that moment is shipped first, so deletes are not lost.',
        common,
      ];
}

function deleteConsequences(stream: StreamState | undefined, count: number): string[] {
  return [
    `Its ${plural(count, 'tablet')} are shipped no more, and their log is held for it no more. What was not shipped by now is left out for good.`,
    'Records that were shipped stay where they are, and so do topics and positions.',
    `A stream of that name that is made later begins anew${stream ? `, ${stream.start === 'snapshot' ? 'with a copy of all rows, if it is made as this one was' : 'with what is written from then on, if it is made as this one was'}` : ''}.`,
  ];
}
