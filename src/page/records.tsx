import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { ApiError, call, reasonOf, streamPath } from './api.ts';
import { operates } from './feed.ts';
import { indented } from './json-text.ts';
import { streamLink } from './route.ts';
import { moment } from './words.ts';
import { Facts } from './facts.tsx';

/** A record as the sink has it. */
interface SeenRecord {
  readonly table: string | null;
  readonly tabletId: string | null;
  readonly position: string | null;
  readonly op: string | null;
  readonly at: string | null;
  readonly key: string | null;
  readonly value: string | null;
  readonly isBase64?: boolean;
  readonly place: Readonly<Record<string, unknown>>;
}

type Answer =
  | { readonly kind: 'not-asked' }
  | { readonly kind: 'asking' }
  | { readonly kind: 'records'; readonly records: readonly SeenRecord[] }
  | { readonly kind: 'failed'; readonly why: string };

const LAST = 20;
const ALL = '';

/** The newest records of a stream, read through its sink when somebody asks. */
export function Records({ stream, tables }: { readonly stream: string; readonly tables: readonly string[] }) {
  const [answer, setAnswer] = useState<Answer>({ kind: 'not-asked' });
  const [table, setTable] = useState(ALL);
  const ask = async (): Promise<void> => {
    setAnswer({ kind: 'asking' });
    const query = new URLSearchParams({ last: String(LAST), ...(table !== ALL && { table }) });
    try {
      const { records } = await call<{ records: readonly SeenRecord[] }>(
        'GET',
        `${streamPath(stream)}/records?${query.toString()}`,
      );
      setAnswer({ kind: 'records', records });
    } catch (error) {
      setAnswer({ kind: 'failed', why: whyNot(error) });
    }
  };
  return (
    <section class="card" aria-labelledby="records-title">
      <div class="card-head">
        <h2 id="records-title">Newest records</h2>
        {operates.value && (
          <div class="filters">
            {tables.length > 1 && (
              <label>
                <span class="hidden">Table</span>
                <select value={table} onChange={({ currentTarget }) => setTable(currentTarget.value)}>
                  <option value={ALL}>all tables</option>
                  {tables.map((name) => (
                    <option key={name} value={name}>
                      {name}
                    </option>
                  ))}
                </select>
              </label>
            )}
            <button type="button" disabled={answer.kind === 'asking'} onClick={() => void ask()}>
              {answer.kind === 'records' ? 'Read again' : `Read the last ${LAST}`}
            </button>
          </div>
        )}
      </div>
      <div aria-live="polite">
        {answer.kind === 'asking' && <p class="quiet">Reading from the sink …</p>}
        {answer.kind === 'not-asked' && (
          <p class="quiet">
            {operates.value
              ? 'They are read from the sink as a consumer sees them, when you ask.'
              : 'Rows of tables are shown to those who may operate Spoor.'}
          </p>
        )}
        {answer.kind === 'failed' && <p class="fault">{answer.why}</p>}
        {answer.kind === 'records' && <List stream={stream} records={answer.records} />}
      </div>
    </section>
  );
}

/** Whether a path is answered at all is told by what the API says of it. */
export function whyNot(error: unknown): string {
  if (
    error instanceof ApiError &&
    error.problem.status === 404 &&
    error.problem.detail.startsWith('There is nothing at')
  )
    return 'This sidecar does not offer it: it is of another version.';
  return reasonOf(error);
}

/** Where a record lies, and its position with the link to its way. */
function placeOf(stream: string, { place, position }: SeenRecord): (readonly [string, ComponentChildren])[] {
  const facts: (readonly [string, ComponentChildren])[] = Object.entries(place).map(([name, value]) => [
    name,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  if (position === null) return facts;
  const link = isCopied(position) ? null : <a href={streamLink(stream, { trace: position })}>Show its way</a>;
  const shownPosition = (
    <>
      <code>{position}</code> {link}
    </>
  );
  return [...facts, ['spoor.pos', shownPosition]];
}

/** Rows of a copy are of no operation. */
function isCopied(position: string): boolean {
  return position.includes('/base.');
}

function List({ stream, records }: { readonly stream: string; readonly records: readonly SeenRecord[] }) {
  if (records.length === 0) return <p class="quiet">There is no record in the sink yet.</p>;
  return (
    <ol class="records">
      {records.map((record, i) => (
        <li key={`${record.position}/${i}`}>
          <details>
            <summary>
              <span class={`op op-${record.op ?? 'none'}`}>{record.op ?? '–'}</span>
              <span>{record.table ?? '–'}</span>
              <code class="key">{record.key ?? 'no key'}</code>
              <span class="quiet">{record.at === null ? '' : moment(record.at)}</span>
            </summary>
            <Facts facts={placeOf(stream, record)} />
            <pre tabIndex={0} aria-label="Value">
              {shown(record)}
            </pre>
          </details>
        </li>
      ))}
    </ol>
  );
}

function shown({ value, isBase64 }: SeenRecord): string {
  if (value === null) return 'null (a tombstone)';
  if (isBase64 === true) return `${value}\n(bytes, in base64)`;
  return value.startsWith('{') ? indented(value) : value;
}
