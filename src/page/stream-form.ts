/** What the form of a new stream holds, as it is typed. */
export interface StreamForm {
  readonly name: string;
  /** One a line. */
  readonly tables: string;
  readonly start: 'snapshot' | 'now';
  readonly sink: 'kafka' | 'redis' | 'file';
  /** Topic, key or folder, by the sink. */
  readonly place: string;
  readonly delivery: 'exactly-once' | 'at-least-once';
  readonly partitions: string;
  readonly replicationFactor: string;
  readonly format: 'json' | 'avro' | 'protobuf';
  readonly registry: string;
  readonly images: 'after' | 'full' | 'changed';
  /** Further fields of the definition, as the text of a JSON object. */
  readonly further: string;
}

export const EMPTY_FORM: StreamForm = {
  name: '',
  tables: '',
  start: 'snapshot',
  sink: 'kafka',
  place: 'cdc.{table}',
  delivery: 'exactly-once',
  partitions: '',
  replicationFactor: '',
  format: 'json',
  registry: '',
  images: 'after',
  further: '',
};

export const PLACES: Readonly<
  Record<StreamForm['sink'], { readonly field: string; readonly label: string; readonly usual: string }>
> = {
  kafka: { field: 'topic', label: 'Topic', usual: 'cdc.{table}' },
  redis: { field: 'key', label: 'Key', usual: 'cdc.{table}' },
  file: { field: 'dir', label: 'Folder', usual: '/data/cdc' },
};

/** The body of `POST /v1/streams`. What is not filled in is left to the defaults of Spoor. @throws {SyntaxError} {@link StreamForm.further} is no object */
export function definitionOf(form: StreamForm): Record<string, unknown> {
  const { sink: furtherOfSink, ...further } = furtherOf(form);
  const tables = form.tables
    .split(/[\n,]/)
    .map((table) => table.trim())
    .filter((table) => table !== '');
  const ofKafka = {
    delivery: form.delivery,
    ...(form.partitions.trim() !== '' && { partitions: Number(form.partitions) }),
    ...(form.replicationFactor.trim() !== '' && { replicationFactor: Number(form.replicationFactor) }),
  };
  return {
    name: form.name,
    tables,
    start: form.start,
    sink: {
      ...{ type: form.sink, [PLACES[form.sink].field]: form.place, ...(form.sink === 'kafka' && ofKafka) },
      ...(isObject(furtherOfSink) && furtherOfSink),
    },
    ...(form.format !== 'json' && {
      format: { type: form.format, ...(form.sink !== 'file' && { registry: form.registry }) },
    }),
    ...(form.images !== 'after' && { images: form.images }),
    ...further,
  };
}

/** @throws {SyntaxError} */
function furtherOf({ further }: StreamForm): Readonly<Record<string, unknown>> {
  const value: unknown = further.trim() === '' ? {} : JSON.parse(further);
  if (!isObject(value)) throw new SyntaxError('an object is wanted, such as {"where": {"shop.orders": "id > 100"}}');
  return value;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Which field of the form a fault of the body is about. */
export function fieldOf(path: string): keyof StreamForm {
  const [first = '', second = ''] = path.split(/[.[]/);
  if (first === 'sink') {
    if (['topic', 'key', 'dir'].includes(second)) return 'place';
    return ['delivery', 'partitions', 'replicationFactor'].includes(second) ? (second as keyof StreamForm) : 'sink';
  }
  if (first === 'format') return second === 'registry' ? 'registry' : 'format';
  return ['name', 'tables', 'start', 'images'].includes(first) ? (first as keyof StreamForm) : 'further';
}
