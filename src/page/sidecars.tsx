import type { SidecarState } from '../api/cluster-state.ts';
import { eachPart } from '../api/parts.ts';
import { nowMs } from './clock.ts';
import { sidecars } from './feed.ts';
import { ago, bytes, duration, percent, plural } from './words.ts';
import { Table, type Heading } from './table.tsx';

const HEADINGS: readonly Heading[] = ['Tablet server', 'State', 'Ships', 'Disk of the held logs', ['Version', 'wide']];

/** Who is there, who stands in for whom, and what room there is on their disks. */
export function Sidecars() {
  return (
    <section class="card" aria-labelledby="sidecars-title">
      <h2 id="sidecars-title">Sidecars</h2>
      <Table named={{ 'aria-labelledby': 'sidecars-title' }} headings={HEADINGS}>
        {sidecars.value.map((sidecar) => (
          <Row key={sidecar.id} sidecar={sidecar} />
        ))}
      </Table>
    </section>
  );
}

function Row({ sidecar }: { readonly sidecar: SidecarState }) {
  const { tserver, http, ships, standsInFor, version } = sidecar;
  return (
    <tr>
      <th scope="row">
        {tserver}
        {http !== '' && <span class="quiet sub">{http.replace(/^https?:\/\//, '')}</span>}
      </th>
      <td>
        <State sidecar={sidecar} />
      </td>
      <td>
        {plural(ships, 'tablet')}
        {standsInFor.map(({ tserver: other, tablets }) => (
          <span class="sub warn-text" key={other}>
            stands in for {other} ({plural(tablets, 'tablet')})
          </span>
        ))}
      </td>
      <td>
        <Disk sidecar={sidecar} />
      </td>
      <td class="quiet wide">{version}</td>
    </tr>
  );
}

function State({ sidecar }: { readonly sidecar: SidecarState }) {
  const { isAlive, http, lastSeen, status } = sidecar;
  if (!isAlive)
    return (
      <>
        <span class="chip chip-bad">{http === '' ? 'stopped' : 'not there'}</span>
        <span class="quiet sub">seen {ago(lastSeen, nowMs.value)}</span>
      </>
    );
  if (status === null) return <span class="chip chip-warn">does not answer</span>;
  const names = { kudu: 'Kudu', kafka: 'sink', redis: 'Redis', file: 'folder', wal: 'log' } as const;
  const failing = eachPart(status.readiness).filter(([, { ok }]) => !ok);
  if (failing.length === 0) return <span class="chip chip-good">ready</span>;
  return (
    <>
      {failing.map(([part, { reason }]) => (
        <span key={part}>
          <span class="chip chip-bad">no {names[part]}</span>
          <span class="quiet sub">{reason}</span>
        </span>
      ))}
    </>
  );
}

function Disk({ sidecar: { status, tserver } }: { readonly sidecar: SidecarState }) {
  if (status === null) return <span class="quiet">–</span>;
  const { disk, heldBytes, limit } = status;
  return (
    <>
      {disk && (
        <>
          <meter
            aria-label={`Used of the disk of ${tserver}`}
            min={0}
            max={disk.totalBytes}
            high={(disk.totalBytes * (95 - disk.minFreePercent)) / 100}
            optimum={0}
            value={disk.totalBytes - disk.freeBytes}
          />{' '}
          {bytes(disk.freeBytes)} free ({percent((disk.freeBytes * 100) / disk.totalBytes)})
        </>
      )}
      <span class="quiet sub">
        {bytes(heldBytes)} held
        {disk?.secondsUntilFloor != null && `, at this pace full in ${duration(disk.secondsUntilFloor)}`}
        {limit !== null && `, a limit in ${duration(limit.seconds)}`}
      </span>
    </>
  );
}
