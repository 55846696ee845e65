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
        <div class="scroll" tabIndex={0} role="region" aria-labelledby="streams-title">
          <table>
            <thead>
              <tr>
                <th scope="col">Stream</th>
                <th scope="col">Tablets</th>
                <th scope="col" class="number">
                  Records/s
                </th>
                <th scope="col" class="number">
                  Lag
                </th>
                <th scope="col" class="number wide">
                  Held log
                </th>
                <th scope="col" class="number wide">
                  Shipped
                </th>
              </tr>
            </thead>
            <tbody>
              {all.map((stream) => (
                <Row key={stream.name} stream={stream} tablets={own.get(stream.name) ?? []} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

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
