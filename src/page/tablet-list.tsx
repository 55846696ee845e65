import { useEffect, useMemo, useState } from 'preact/hooks';
import type { TabletView } from '../api/shapes.ts';
import { StateChips } from './chips.tsx';
import { TabletRows } from './tablet-rows.tsx';
import { byTable, filtered, STATE_ORDER, type Filter } from './tablets.ts';
import { bytes, count, duration, plural } from './words.ts';
import { Table, type Heading } from './table.tsx';

const PAGE = 50;

interface Props {
  readonly tablets: readonly TabletView[];
  /** What the link here asks for: a state, and a text. */
  readonly query: URLSearchParams;
}

/** The tables of a stream and its tablets, as many at a time as can be looked at: thousands stay quick. */
export function TabletList({ tablets, query }: Props) {
  const [filter, setFilter] = useState<Filter>(() => asked(query));
  const [page, setPage] = useState(0);
  const change = (changed: Partial<Filter>): void => {
    setFilter({ ...filter, ...changed });
    setPage(0);
  };
  useEffect(() => {
    setFilter(asked(query));
    setPage(0);
    if (query.has('state') || query.has('text')) document.getElementById('tablets')?.scrollIntoView();
  }, [query]);
  const tables = useMemo(() => byTable(tablets), [tablets]);
  const shown = useMemo(() => filtered(tablets, filter), [tablets, filter]);
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  const at = Math.min(page, pages - 1);
  return (
    <>
      {tables.length > 1 && <Tables tables={tables} chosen={filter.table} choose={(table) => change({ table })} />}
      <section class="card" aria-labelledby="tablets-title" id="tablets">
        <div class="card-head">
          <h2 id="tablets-title">Tablets</h2>
          <div class="filters" role="search" aria-label="Tablets">
            <label>
              <span class="hidden">State</span>
              <select
                value={filter.state}
                onChange={({ currentTarget }) => change({ state: currentTarget.value as Filter['state'] })}
              >
                <option value="any">any state</option>
                {STATE_ORDER.map((state) => (
                  <option key={state} value={state}>
                    {state}
                  </option>
                ))}
              </select>
            </label>
            <label>
              <span class="hidden">Table, tablet, sidecar or error</span>
              <input
                type="search"
                placeholder="table, tablet, sidecar, error"
                value={filter.text}
                onInput={({ currentTarget }) => change({ text: currentTarget.value })}
              />
            </label>
          </div>
        </div>
        <p class="quiet" role="status">
          {shown.length === tablets.length
            ? plural(shown.length, 'tablet')
            : `${count(shown.length)} of ${plural(tablets.length, 'tablet')}`}
          {filter.table !== null && (
            <>
              {' of '}
              <strong>{filter.table}</strong>{' '}
              <button type="button" class="plain small" onClick={() => change({ table: null })}>
                all tables
              </button>
            </>
          )}
        </p>
        <TabletRows tablets={shown.slice(at * PAGE, (at + 1) * PAGE)} />
        {pages > 1 && (
          <nav class="pager" aria-label="Pages of tablets">
            <button type="button" disabled={at === 0} onClick={() => setPage(at - 1)}>
              Before
            </button>
            <span>
              {count(at * PAGE + 1)}–{count(Math.min(shown.length, (at + 1) * PAGE))} of {count(shown.length)}
            </span>
            <button type="button" disabled={at === pages - 1} onClick={() => setPage(at + 1)}>
              Next
            </button>
          </nav>
        )}
      </section>
    </>
  );
}

function asked(query: URLSearchParams): Filter {
  const state = STATE_ORDER.find((each) => each === query.get('state')) ?? 'any';
  return { text: query.get('text') ?? '', state, table: null };
}

const TABLES_SHOWN = 20;

const HEADINGS: readonly Heading[] = ['Table', 'Tablets', ['Lag', 'number'], ['Held log', 'number']];

function Tables(props: {
  readonly tables: ReturnType<typeof byTable>;
  readonly chosen: string | null;
  readonly choose: (table: string | null) => void;
}) {
  const { tables, chosen, choose } = props;
  const [all, setAll] = useState(false);
  const shown = all ? tables : tables.slice(0, TABLES_SHOWN);
  return (
    <section class="card" aria-labelledby="tables-title">
      <h2 id="tables-title">Tables</h2>
      <Table named={{ 'aria-labelledby': 'tables-title' }} headings={HEADINGS}>
        {shown.map(({ name, tablets, lagSeconds, heldBytes }) => (
          <tr key={name} class={name === chosen ? 'chosen' : undefined}>
            <th scope="row">
              <button
                type="button"
                class="plain"
                aria-pressed={name === chosen}
                onClick={() => {
                  choose(name === chosen ? null : name);
                }}
              >
                {name}
              </button>
            </th>
            <td>
              <StateChips tablets={tablets} />
            </td>
            <td class="number">{duration(lagSeconds)}</td>
            <td class="number">{bytes(heldBytes)}</td>
          </tr>
        ))}
      </Table>
      {!all && tables.length > TABLES_SHOWN && (
        <button type="button" class="plain" onClick={() => setAll(true)}>
          Show all {tables.length} tables
        </button>
      )}
    </section>
  );
}
