import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import type { TabletView } from '../api/shapes.ts';
import { StateChip } from './chips.tsx';
import { nowMs } from './clock.ts';
import { keyOf } from './apply-change.ts';
import { ago, bytes, count, duration, percent, shortId } from './words.ts';
import { Table, type Heading } from './table.tsx';
import { Facts } from './facts.tsx';

const HEADINGS: readonly Heading[] = [
  'Tablet',
  'State',
  ['Lag', 'number'],
  ['Waiting ops', 'number wide'],
  ['Held log', 'number'],
  'Sidecar',
];

/** Rows of tablets; each opens to all that is known of it. */
export function TabletRows({ tablets }: { readonly tablets: readonly TabletView[] }) {
  const [open, setOpen] = useState<string | null>(null);
  if (tablets.length === 0) return <p class="quiet">There is none that the filter lets through.</p>;
  return (
    <Table named={{ 'aria-label': 'Tablets' }} classes="tablets" headings={HEADINGS}>
      {tablets.map((tablet) => {
        const key = keyOf(tablet);
        const isOpen = key === open;
        return (
          <Fragment key={key}>
            <tr>
              <th scope="row">
                <button
                  type="button"
                  class="plain opener"
                  aria-expanded={isOpen}
                  onClick={() => {
                    setOpen(isOpen ? null : key);
                  }}
                >
                  <span class="mono" title={tablet.tabletId}>
                    {shortId(tablet.tabletId)}
                  </span>{' '}
                  <span class="quiet">{tablet.table}</span>
                </button>
              </th>
              <td>
                <StateChip state={tablet.state} />
              </td>
              <td class="number">{duration(tablet.lagSeconds)}</td>
              <td class="number wide">{count(tablet.lagOps)}</td>
              <td class="number">{bytes(tablet.hold?.bytes)}</td>
              <td>
                {tablet.sidecar?.replace(/^https?:\/\//, '') ?? '–'}
                {tablet.role === 'follower' && <span class="sub warn-text">stands in</span>}
              </td>
            </tr>
            {isOpen && (
              <tr class="opened">
                <td colSpan={6}>
                  <Details tablet={tablet} />
                </td>
              </tr>
            )}
          </Fragment>
        );
      })}
    </Table>
  );
}

function Details({ tablet }: { readonly tablet: TabletView }) {
  const { error, waiting, copy, hold } = tablet;
  const facts: (readonly [string, string])[] = [
    ['Tablet', tablet.tabletId],
    ['Sink has all up to', tablet.applyOpId ?? '–'],
    ['Committed up to', tablet.committedOpId ?? '–'],
    ['Role of the replica', tablet.role],
  ];
  if (hold)
    facts.push(['Held from index', `${count(hold.index)}, ${bytes(hold.bytes)}, ${duration(hold.ageSeconds)} old`]);
  if (copy)
    facts.push(['Copy', `${count(copy.rows)} rows, ${percent(copy.percent)}, ${duration(copy.secondsLeft)} left`]);
  if (waiting) facts.push(['Waits for', `${waiting.for} (${ago(waiting.since, nowMs.value)})`]);
  if (error) facts.push(['Error', `${error.code}: ${error.message} (${ago(error.since, nowMs.value)})`]);
  return <Facts facts={facts} />;
}
