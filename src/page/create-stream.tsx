import { useEffect, useState } from 'preact/hooks';
import type { StreamPlan, StreamView } from '../api/shapes.ts';
import { ApiError, call, reasonOf, type Problem } from './api.ts';
import { Field, Options } from './fields.tsx';
import { operates } from './feed.ts';
import { PlanView } from './plan-view.tsx';
import { streamLink } from './route.ts';
import { definitionOf, EMPTY_FORM, fieldOf, PLACES, type StreamForm } from './stream-form.ts';

/** So long nobody has typed. */
const CHECK_AFTER_MS = 350;

type Check =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'checking' }
  | { readonly kind: 'plan'; readonly plan: StreamPlan }
  | { readonly kind: 'problem'; readonly problem: Problem }
  | { readonly kind: 'failed'; readonly why: string };

/** The form of a new stream. It is checked as one types, by asking what would become of it; nothing is made by that. */
export function CreateStream() {
  const [form, setForm] = useState<StreamForm>(EMPTY_FORM);
  const [touched, setTouched] = useState<ReadonlySet<keyof StreamForm>>(new Set());
  const [isMaking, setMaking] = useState(false);
  const check = useCheck(form);
  const set = <Name extends keyof StreamForm>(name: Name, value: StreamForm[Name]): void => {
    setForm((before) => ({ ...before, [name]: value }));
    setTouched((before) => new Set([...before, name]));
  };
  const faults = faultsOf(check);
  // Nobody is blamed for what was not filled in yet.
  const faultOf = (name: keyof StreamForm): string | undefined =>
    touched.has(name) || form[name] !== EMPTY_FORM[name] ? faults.get(name) : undefined;
  const [failure, setFailure] = useState<string | null>(null);
  const make = async (): Promise<void> => {
    setMaking(true);
    setFailure(null);
    try {
      const { name } = await call<StreamView>('POST', '/v1/streams', definitionOf(form));
      location.hash = streamLink(name);
    } catch (error) {
      setFailure(reasonOf(error));
      setMaking(false);
    }
  };
  if (!operates.value)
    return (
      <section class="card narrow">
        <h1>New stream</h1>
        <p>Your token is for looking only; to make a stream takes the one for operating.</p>
      </section>
    );
  const place = PLACES[form.sink];
  return (
    <div class="two-columns">
      <section class="card" aria-labelledby="new-title">
        <h1 id="new-title">New stream</h1>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (check.kind === 'plan' && !isMaking) void make();
          }}
        >
          <Field label="Name" fault={faultOf('name')} hint="a-z, 0-9, “.”, “_” and “-”; it stays">
            {(props) => (
              <input
                {...props}
                autocomplete="off"
                spellcheck={false}
                value={form.name}
                onInput={({ currentTarget }) => set('name', currentTarget.value)}
              />
            )}
          </Field>
          <Field
            label="Tables"
            fault={faultOf('tables')}
            hint="one a line; * stands for any characters, ! in front takes tables out again"
          >
            {(props) => (
              <textarea
                {...props}
                rows={3}
                spellcheck={false}
                placeholder={'shop.orders\nshop.item*'}
                value={form.tables}
                onInput={({ currentTarget }) => set('tables', currentTarget.value)}
              />
            )}
          </Field>
          <Options
            legend="Begins with"
            name="start"
            value={form.start}
            choose={(value) => set('start', value)}
            options={[
              ['snapshot', 'A copy of the rows that are there, then every change'],
              ['now', 'What is written from now on'],
            ]}
          />
          <div class="row">
            <Field label="Into" fault={faultOf('sink')}>
              {(props) => (
                <select
                  {...props}
                  value={form.sink}
                  onChange={({ currentTarget }) => {
                    const sink = currentTarget.value as StreamForm['sink'];
                    set('sink', sink);
                    set('place', PLACES[sink].usual);
                  }}
                >
                  <option value="kafka">Kafka</option>
                  <option value="redis">Redis Streams</option>
                  <option value="file">Files</option>
                </select>
              )}
            </Field>
            <Field
              label={place.label}
              fault={faultOf('place')}
              hint={form.sink === 'file' ? undefined : '{table}, {stream}, {database}'}
            >
              {(props) => (
                <input
                  {...props}
                  spellcheck={false}
                  autocomplete="off"
                  value={form.place}
                  onInput={({ currentTarget }) => set('place', currentTarget.value)}
                />
              )}
            </Field>
          </div>
          <details class="more">
            <summary>Delivery, partitions, format, filters</summary>
            {form.sink === 'kafka' && (
              <>
                <Options
                  legend="Delivery"
                  name="delivery"
                  value={form.delivery}
                  choose={(value) => set('delivery', value)}
                  options={[
                    ['exactly-once', 'Exactly once'],
                    ['at-least-once', 'At least once, with lower latency'],
                  ]}
                />
                <div class="row">
                  <Field
                    label="Partitions"
                    fault={faultOf('partitions')}
                    hint="of topics that Spoor makes; empty: the broker’s default"
                  >
                    {(props) => (
                      <input
                        {...props}
                        inputMode="numeric"
                        value={form.partitions}
                        onInput={({ currentTarget }) => set('partitions', currentTarget.value)}
                      />
                    )}
                  </Field>
                  <Field label="Replication factor" fault={faultOf('replicationFactor')}>
                    {(props) => (
                      <input
                        {...props}
                        inputMode="numeric"
                        value={form.replicationFactor}
                        onInput={({ currentTarget }) => set('replicationFactor', currentTarget.value)}
                      />
                    )}
                  </Field>
                </div>
              </>
            )}
            <div class="row">
              <Field label="Format" fault={faultOf('format')}>
                {(props) => (
                  <select
                    {...props}
                    value={form.format}
                    onChange={({ currentTarget }) => set('format', currentTarget.value as StreamForm['format'])}
                  >
                    <option value="json">JSON</option>
                    <option value="avro">Avro</option>
                    <option value="protobuf">Protocol Buffers</option>
                  </select>
                )}
              </Field>
              {form.format !== 'json' && form.sink !== 'file' && (
                <Field label="Schema registry" fault={faultOf('registry')}>
                  {(props) => (
                    <input
                      {...props}
                      placeholder="http://registry:8081"
                      value={form.registry}
                      onInput={({ currentTarget }) => set('registry', currentTarget.value)}
                    />
                  )}
                </Field>
              )}
            </div>
            <Options
              legend="A record of a change carries"
              name="images"
              value={form.images}
              choose={(value) => set('images', value)}
              options={[
                ['after', 'The whole row after it'],
                ['full', 'The whole row before it as well'],
                ['changed', 'The key and the columns that it set'],
              ]}
            />
            <Field
              label="Further fields, as JSON"
              fault={faultOf('further')}
              hint="what a definition in a file may have: columns, where, partitionBy, tombstones …"
            >
              {(props) => (
                <textarea
                  {...props}
                  rows={4}
                  spellcheck={false}
                  placeholder={
                    '{"where": {"shop.orders": "id > 100"},\n "columns": {"shop.orders": {"exclude": ["card"]}}}'
                  }
                  value={form.further}
                  onInput={({ currentTarget }) => set('further', currentTarget.value)}
                />
              )}
            </Field>
          </details>
          {failure !== null && (
            <p class="fault" role="alert">
              {failure}
            </p>
          )}
          <div class="actions end">
            <a class="button" href="#/">
              Leave it
            </a>
            <button type="submit" class="primary" disabled={check.kind !== 'plan' || isMaking}>
              {isMaking ? 'One moment …' : 'Make the stream'}
            </button>
          </div>
        </form>
      </section>
      <section class="card preview" aria-labelledby="plan-title">
        <h2 id="plan-title">What would become of it</h2>
        <div aria-live="polite">
          <Preview form={form} check={check} shown={touched.size > 0} />
        </div>
      </section>
    </div>
  );
}

function Preview({
  form,
  check,
  shown,
}: {
  readonly form: StreamForm;
  readonly check: Check;
  readonly shown: boolean;
}) {
  switch (check.kind) {
    case 'nothing':
      return (
        <p class="quiet">
          It is asked for as you type, and nothing is made until you say so. Begin with a name and tables.
        </p>
      );
    case 'checking':
      return <p class="quiet">Checking …</p>;
    case 'failed':
      return <p class="fault">{check.why}</p>;
    case 'problem':
      return shown ? <ProblemView problem={check.problem} /> : null;
    case 'plan':
      return <PlanView plan={check.plan} form={form} />;
  }
}

function ProblemView({ problem }: { readonly problem: Problem }) {
  const { detail, errors = [], remedy } = problem;
  return (
    <>
      <p class="fault">{detail}</p>
      <ul class="plain-list">
        {errors.map(({ path, message }) => (
          <li key={path + message}>
            <code>{path}</code> {message}
          </li>
        ))}
      </ul>
      {remedy !== undefined && <p>{remedy}</p>}
    </>
  );
}

function useCheck(form: StreamForm): Check {
  const [check, setCheck] = useState<Check>({ kind: 'nothing' });
  useEffect(() => {
    if (form.name.trim() === '' || form.tables.trim() === '') {
      setCheck({ kind: 'nothing' });
      return undefined;
    }
    const abort = new AbortController();
    // The plan before stays until the next is there, but it is not one to act on.
    const timer = setTimeout(() => {
      setCheck({ kind: 'checking' });
      void ask(form, abort.signal).then((answer) => {
        if (!abort.signal.aborted) setCheck(answer);
      });
    }, CHECK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [form]);
  return check;
}

async function ask(form: StreamForm, signal: AbortSignal): Promise<Check> {
  try {
    return {
      kind: 'plan',
      plan: await call<StreamPlan>('POST', '/v1/streams?dryRun=true', definitionOf(form), signal),
    };
  } catch (error) {
    if (error instanceof ApiError) return { kind: 'problem', problem: error.problem };
    if (error instanceof SyntaxError) return { kind: 'problem', problem: notJson(error) };
    return { kind: 'failed', why: reasonOf(error) };
  }
}

function notJson({ message }: SyntaxError): Problem {
  const detail = 'The further fields are no JSON object.';
  return { status: 400, detail, errors: [{ path: 'further', message: `fields: ${message}` }] };
}

function faultsOf(check: Check): ReadonlyMap<keyof StreamForm, string> {
  const faults = new Map<keyof StreamForm, string>();
  if (check.kind !== 'problem') return faults;
  const { errors = [], status, detail } = check.problem;
  for (const { path, message } of errors) {
    const field = fieldOf(path);
    if (!faults.has(field)) faults.set(field, field === 'further' ? `${path} ${message}` : message);
  }
  if (status === 409 && errors.length === 0) faults.set('name', detail);
  return faults;
}
