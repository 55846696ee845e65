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
};

export const PLACES: Readonly<
  Record<StreamForm['sink'], { readonly field: string; readonly label: string; readonly usual: string }>
> = {
  kafka: { field: 'topic', label: 'Topic', usual: 'cdc.{table}' },
  redis: { field: 'key', label: 'Key', usual: 'cdc.{table}' },
  file: { field: 'dir', label: 'Folder', usual: '/data/cdc' },
};

/** The body of `POST /v1/streams`. What is not filled in is left to the defaults of Spoor. */
export function definitionOf(form: StreamForm): Record<string, unknown> {
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
    sink: { type: form.sink, [PLACES[form.sink].field]: form.place, ...(form.sink === 'kafka' && ofKafka) },
    ...(form.format !== 'json' && { format: { type: form.format, registry: form.registry } }),
    ...(form.images !== 'after' && { images: form.images }),
  };
}

/** Which field of the form a fault of the body is about; null for none of them. */
export function fieldOf(path: string): keyof StreamForm | null {
  const [first = '', second = ''] = path.split(/[.[]/);
  if (first === 'sink') {
    if (['topic', 'key', 'dir'].includes(second)) return 'place';
    return ['delivery', 'partitions', 'replicationFactor'].includes(second) ? (second as keyof StreamForm) : 'sink';
  }
  if (first === 'format') return second === 'registry' ? 'registry' : 'format';
  return ['name', 'tables', 'start', 'images'].includes(first) ? (first as keyof StreamForm) : null;
}

/** About what the first record of a table would look like: its frame, as the columns are the table's to say. */
export function firstRecord(form: StreamForm, table: { readonly name: string; readonly begins: string }): string {
  const name = table.name.replace(/^impala::/, '');
  const dot = name.indexOf('.');
  const copied = table.begins === 'copy';
  const record = {
    op: copied ? 'r' : 'c',
    before: null,
    after: { '…': `the columns of ${table.name}` },
    source: {
      connector: 'kudu',
      name: form.name === '' ? '…' : form.name,
      snapshot: copied ? 'true' : 'false',
      db: dot < 0 ? '' : name.slice(0, dot),
      table: dot < 0 ? name : name.slice(dot + 1),
      kudu_table: table.name,
    },
  };
  return JSON.stringify(record, null, 2);
}
