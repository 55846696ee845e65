import type { StreamPlan } from '../api/shapes.ts';
import type { StreamForm } from './stream-form.ts';
import { indented } from './json-text.ts';
import { count, plural } from './words.ts';
import { Warnings } from './facts.tsx';

const SHOWN = 12;
const TOPIC_STATES = {
  there: 'is there',
  made: 'is made with the first record',
  missing: 'is missing',
  refused: 'is refused',
  unknown: 'cannot be asked for',
} as const;

/** What would become of a stream, as a dry run says it. */
export function PlanView({ plan, form }: { readonly plan: StreamPlan; readonly form: StreamForm }) {
  const { tables, topics, example, missing, warnings } = plan;
  const tablets = tables.reduce((sum, table) => sum + table.tablets, 0);
  const copied = tables.filter(({ begins }) => begins === 'copy');
  const known = copied.every(({ rows }) => rows !== null);
  const rows = copied.reduce((sum, table) => sum + (table.rows ?? 0), 0);
  return (
    <>
      {missing.length === 0 ? (
        <p class="good">Nothing is missing.</p>
      ) : (
        <div class="fault">
          <strong>It cannot ship until somebody sees to this:</strong>
          <ul>
            {missing.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </div>
      )}
      <Warnings warnings={warnings} />
      <h3>
        {plural(tables.length, 'table')}, {plural(tablets, 'tablet')}
      </h3>
      {copied.length > 0 && (
        <p class="quiet">
          {known
            ? `About ${count(rows)} rows are copied first.`
            : 'Their rows are copied first; how many is not known.'}
        </p>
      )}
      {tables.length === 0 && (
        <p class="quiet">No table matches now. One that is made later, and does, joins with its first row.</p>
      )}
      <ul class="plain-list">
        {tables.slice(0, SHOWN).map((table) => (
          <li key={table.name}>
            <strong>{table.name}</strong>
            {table.topic !== null && <> → {table.topic}</>}
            <span class="quiet">
              {' '}
              {plural(table.tablets, 'tablet')}
              {table.begins === 'copy' && table.rows !== null && `, ${count(table.rows)} rows`}
            </span>
          </li>
        ))}
      </ul>
      {tables.length > SHOWN && <p class="quiet">and {tables.length - SHOWN} more</p>}
      {topics.length > 0 && (
        <>
          <h3>{plural(topics.length, 'topic')}</h3>
          <ul class="plain-list">
            {topics.slice(0, SHOWN).map((topic) => (
              <li key={topic.name}>
                <strong>{topic.name}</strong>{' '}
                <span class={topic.state === 'missing' || topic.state === 'refused' ? 'bad-text' : 'quiet'}>
                  {TOPIC_STATES[topic.state]}
                </span>
                {topic.differences.map((difference) => (
                  <span class="sub quiet" key={difference}>
                    {difference}
                  </span>
                ))}
              </li>
            ))}
          </ul>
        </>
      )}
      {example && (
        <>
          <h3>{example.isMadeUp ? 'What its first record looks like, with values made up' : 'Its first record'}</h3>
          <p class="quiet">
            Of {example.table}
            {form.format !== 'json' &&
              `; the same envelope, in ${form.format === 'avro' ? 'Avro' : 'Protocol Buffers'} with a schema ${form.sink === 'file' ? 'at the head of its file' : 'of the registry'}`}
            .
          </p>
          <pre tabIndex={0} aria-label="Its key">
            {example.key}
          </pre>
          <pre tabIndex={0} aria-label="Its value">
            {indented(example.value)}
          </pre>
        </>
      )}
    </>
  );
}
