import type { TabletView } from '../api/shapes.ts';
import { streamLink } from './route.ts';
import { count, duration, percent, plural, shortId } from './words.ts';

const SHOWN = 8;

/** Copies and repairs that are under way or wait for their turn, with what is left of them. */
export function Copies({ tablets }: { readonly tablets: readonly TabletView[] }) {
  const copying = tablets.filter(
    ({ state, copy }) => copy !== undefined || state === 'base-copy' || state === 'resync',
  );
  if (copying.length === 0) return null;
  const running = copying.filter(({ copy }) => copy !== undefined);
  const shown = running.slice(0, SHOWN);
  const known = running.flatMap(({ copy }) => (copy?.totalRows == null ? [] : [copy]));
  const rows = known.reduce((sum, copy) => sum + copy.rows, 0);
  const total = known.reduce((sum, copy) => sum + (copy.totalRows ?? 0), 0);
  const left = running.reduce<number | null>(
    (most, { copy }) => (copy?.secondsLeft == null ? most : Math.max(most ?? 0, copy.secondsLeft)),
    null,
  );
  return (
    <section class="card" aria-labelledby="copies-title">
      <h2 id="copies-title">Copies and repairs</h2>
      <p class="quiet">
        {plural(copying.length, 'tablet')}, {running.length} under way
        {total > 0 && `, ${count(rows)} of ${count(total)} rows`}
        {left !== null && `, ${duration(left)} left`}
      </p>
      <ul class="copies">
        {shown.map(({ stream, tabletId, table, copy, waiting }) => (
          <li key={`${stream}/${tabletId}`}>
            <div class="copy-head">
              <a href={streamLink(stream, { text: tabletId })}>{table}</a>{' '}
              <span class="quiet mono">{shortId(tabletId)}</span>
              <span class="copy-kind">{copy?.kind === 'changes' ? 'repair' : 'copy'}</span>
            </div>
            <progress
              aria-label={`Copy of ${table}, tablet ${tabletId}`}
              max={100}
              value={copy?.percent ?? undefined}
            />
            <div class="copy-figures quiet">
              {count(copy?.rows)} {copy?.totalRows == null ? 'rows' : `of ${count(copy.totalRows)} rows`}
              {copy?.percent != null && ` · ${percent(copy.percent)}`}
              {copy?.secondsLeft != null && ` · ${duration(copy.secondsLeft)} left`}
              {waiting && ` · waits for ${waiting.for}`}
            </div>
          </li>
        ))}
      </ul>
      {copying.length > shown.length && <p class="quiet">and {plural(copying.length - shown.length, 'tablet')} more</p>}
    </section>
  );
}
