import { useMemo } from 'preact/hooks';
import type { StreamState } from '../api/cluster-state.ts';
import { StateChips } from './chips.tsx';
import { Copies } from './copies.tsx';
import { openDialog } from './dialogs.tsx';
import { operates, tablets, verdict } from './feed.ts';
import { Hour } from './hour.tsx';
import { Records } from './records.tsx';
import { destinationOf } from './sink-words.ts';
import { TabletList } from './tablet-list.tsx';
import { Trace } from './trace.tsx';
import { Troubles } from './verdict.tsx';
import { bytes, count, duration, moment, rate } from './words.ts';
import { Facts, Warnings } from './facts.tsx';

interface Props {
  readonly name: string;
  /** Null where there is none of that name. */
  readonly stream: StreamState | null;
  readonly query: URLSearchParams;
}

export function StreamPage({ name, stream, query }: Props) {
  const own = useMemo(() => tablets.value.filter((tablet) => tablet.stream === name), [tablets.value, name]);
  if (stream === null)
    return (
      <section class="card narrow">
        <h1>There is no stream named {name}</h1>
        <p>
          <a href="#/">Back to the overview</a>
        </p>
      </section>
    );
  const troubles = verdict.value?.troubles.filter(({ streams }) => streams.includes(name)) ?? [];
  const { figures } = stream;
  return (
    <>
      <section class="card" aria-labelledby="stream-title">
        <p class="crumbs">
          <a href="#/">Overview</a> <span aria-hidden="true">/</span> Stream
        </p>
        <div class="card-head">
          <h1 id="stream-title">{name}</h1>
          {operates.value && <Buttons stream={stream} />}
        </div>
        <StateChips tablets={own} />
        <dl class="figures">
          <Figure name="Records/s" value={rate(figures.recordsPerSecond)} />
          <Figure name="Lag" value={duration(figures.lagSeconds)} />
          <Figure name="Held log" value={bytes(figures.heldBytes)} />
          <Figure name="Shipped" value={count(figures.recordsShipped)} />
        </dl>
        <Definition stream={stream} />
      </section>
      {troubles.length > 0 && (
        <section aria-label="What is wrong with this stream">
          <Troubles troubles={troubles} />
        </section>
      )}
      <Copies tablets={own} />
      <section class="card" aria-labelledby="hour-title">
        <h2 id="hour-title">The last hour</h2>
        <Hour only={name} />
      </section>
      <TabletList tablets={own} query={query} />
      <Records stream={name} tables={[...new Set(own.map(({ table }) => table))].sort()} />
      <Trace stream={name} asked={query.get('trace')} />
    </>
  );
}

function Figure({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Buttons({ stream: { name, paused } }: { readonly stream: StreamState }) {
  const button = (label: string, kind: 'pause' | 'resume' | 'delete', look = '') => (
    <button
      type="button"
      class={look}
      onClick={() => {
        openDialog({ kind, stream: name });
      }}
    >
      {label} …
    </button>
  );
  return (
    <div class="actions">
      {paused ? button('Resume', 'resume', 'primary') : button('Pause', 'pause')}
      <button
        type="button"
        onClick={() => {
          openDialog({ kind: 'resync', stream: name, from: 'gap', tablets: [] });
        }}
      >
        Resync …
      </button>
      {button('Delete', 'delete', 'danger-quiet')}
    </div>
  );
}

function Definition({ stream }: { readonly stream: StreamState }) {
  const { tables, start, format, images, createdAt, warnings = [], sink } = stream;
  const facts: readonly (readonly [string, string])[] = [
    ['Tables', tables.join(', ')],
    ['Goes to', destinationOf(stream)],
    ...(sink.type === 'kafka' ? ([['Delivery', sink.delivery]] as const) : []),
    ['Format', format.type],
    ['Images', images],
    ['Began with', start === 'snapshot' ? 'a copy of the rows' : 'what was written from then on'],
    ['Made', moment(createdAt)],
  ];
  return (
    <>
      <Facts facts={facts} />
      <Warnings warnings={warnings} />
    </>
  );
}
