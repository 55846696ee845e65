import { useMemo } from 'preact/hooks';
import type { StreamState } from '../api/cluster-state.ts';
import type { TabletView } from '../api/shapes.ts';
import { StateChips } from './chips.tsx';
import { Copies } from './copies.tsx';
import { operates, streams, tablets } from './feed.ts';
import { Hour } from './hour.tsx';
import { streamLink } from './route.ts';
import { Sidecars } from './sidecars.tsx';
import { destinationOf } from './sink-words.ts';
import { Verdict } from './verdict.tsx';
import { bytes, count, duration, rate } from './words.ts';
import { Table, type Heading } from './table.tsx';

export function Overview() {
  return (
    <>
      <Verdict />
      <Streams />
      <Copies tablets={tablets.value} />
      <section class="card" aria-labelledby="hour-title">
        <h2 id="hour-title">The last hour</h2>
        <Hour />
      </section>
      <Sidecars />
    </>
  );
}

function Streams() {
  const all = streams.value;
  const own = useMemo(() => groupByStream(tablets.value), [tablets.value]);
  return (
    <section class="card" aria-labelledby="streams-title">
      <div class="card-head">
        <h2 id="streams-title">Streams</h2>
        {operates.value && (
          <a class="button primary" href="#/new">
            New stream
          </a>
        )}
      </div>
      {all.length === 0 ? (
        <p class="quiet">There is none yet. A stream says which tables of Kudu go where.</p>
      ) : (
        <Table named={{ 'aria-labelledby': 'streams-title' }} headings={HEADINGS}>
          {all.map((stream) => (
            <Row key={stream.name} stream={stream} tablets={own.get(stream.name) ?? []} />
          ))}
        </Table>
      )}
    </section>
  );
}

const HEADINGS: readonly Heading[] = [
  'Stream',
  'Tablets',
  ['Records/s', 'number'],
  ['Lag', 'number'],
  ['Held log', 'number wide'],
  ['Shipped', 'number wide'],
];

function Row({ stream, tablets: own }: { readonly stream: StreamState; readonly tablets: readonly TabletView[] }) {
  const { recordsPerSecond, lagSeconds, heldBytes, recordsShipped } = stream.figures;
  return (
    <tr>
      <th scope="row">
        <a href={streamLink(stream.name)}>{stream.name}</a>
        <span class="quiet sub">
          {stream.tables.join(', ')} → {destinationOf(stream)}
        </span>
      </th>
      <td>
        <StateChips tablets={own} />
      </td>
      <td class="number">{rate(recordsPerSecond)}</td>
      <td class="number">{duration(lagSeconds)}</td>
      <td class="number wide">{bytes(heldBytes)}</td>
      <td class="number wide">{count(recordsShipped)}</td>
    </tr>
  );
}

function groupByStream(all: readonly TabletView[]): Map<string, TabletView[]> {
  const byStream = new Map<string, TabletView[]>();
  for (const tablet of all) {
    const own = byStream.get(tablet.stream);
    if (own) own.push(tablet);
    else byStream.set(tablet.stream, [tablet]);
  }
  return byStream;
}
