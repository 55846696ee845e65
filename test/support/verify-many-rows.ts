/**
 * Verifies a made-up stream of so many rows, some of which were updated once, and prints what came out, the time and the
 * peak of memory: `node --import tsx test/support/verify-many-rows.ts 1000000 [faults]`; with faults one of each kind.
 */
import type { RowBlock } from '../../src/kudu/row-block.ts';
import { DataType, type TableSchema } from '../../src/kudu/schema.ts';
import { jsonDecoder } from '../../src/formats/json-decode.ts';
import { laneOf, showPlace } from '../../src/sinks/kafka/record-place.ts';
import type { SinkReader, StoredRecord } from '../../src/sinks/reader.ts';
import { verify } from '../../src/verify/verify.ts';
import { MemoryTables } from './memory-verify.ts';
import { blockOf, RecordHistory } from './record-history.ts';
import { column, int32, int64 } from './row-bytes.ts';

const ROWS = Number(process.argv[2]);
/** Whether one row of each kind is wrong. */
const HAS_FAULTS = process.argv[3] === 'faults';
const BATCH = 4096;
const SCHEMA: TableSchema = {
  columns: [
    column('id', DataType.INT64, { isKey: true, id: 0 }),
    column('amount', DataType.INT32, { nullable: true, id: 1 }),
    column('price', DataType.DOUBLE, { nullable: true, id: 2 }),
    column('note', DataType.STRING, { nullable: true, id: 3 }),
  ],
};
const TABLETS = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(32));
const history = new RecordHistory({ tableId: 'many-table', name: 'many', schema: SCHEMA });
const begin = history.begin(TABLETS[0]!);
const AT = history.now + (1n << 40n);

/** Ids in an order that is not theirs. */
const idOf = (i: number): number => (i * 7_368_787) % ROWS;
const isUpdated = (id: number): boolean => id % 4 === 3;
const amountOf = (id: number): number => (isUpdated(id) ? id + 1 : id) & 0xffff;

function source(id: number, index: number, op: string): string {
  const tablet = TABLETS[id % TABLETS.length]!;
  const times = `"ts_ms":1,"ts_us":1000,"snapshot":"false","table":"many","table_id":"many-table","tablet_id":"${tablet}"`;
  return `"source":{"connector":"kudu","version":"0","name":"s",${times},"term":1,"index":${index},"row":${id % 100},"hybrid_time":"${history.now}","kudu_op":"${op}"}}`;
}

function record(partition: number, id: number, isUpdate: boolean): StoredRecord {
  const index = 2 + (isUpdate ? ROWS + id : id);
  const after = isUpdate
    ? `{"id":${id},"amount":${amountOf(id)}}`
    : `{"id":${id},"amount":${id & 0xffff},"price":${id / 8},"note":"note of row ${id}"}`;
  const op = isUpdate ? '"op":"u"' : '"op":"c"';
  const value = `{${op},"ts_ms":1,"before":null,"after":${after},${source(id, index, isUpdate ? 'UPDATE' : 'INSERT')}`;
  return {
    place: { lane: laneOf('cdc', partition), order: BigInt(index) },
    key: Buffer.from(`{"id":${id}}`),
    value: Buffer.from(value),
    position: `${TABLETS[id % TABLETS.length]!}/1.${index}.${id % 100}`,
    timestampMs: 1,
  };
}

async function* stored(): AsyncGenerator<readonly StoredRecord[], void, void> {
  let batch: StoredRecord[] = [];
  for (let partition = 0; partition < 3; partition++)
    for (const isUpdate of [false, true])
      for (let i = 0; i < ROWS; i++) {
        const id = idOf(i);
        if (id % 3 !== partition || (isUpdate && !isUpdated(id)) || (HAS_FAULTS && id === 5)) continue;
        batch.push(record(partition, id, isUpdate && (!HAS_FAULTS || id !== 7)));
        if (batch.length < 1000) continue;
        await Promise.resolve();
        yield batch;
        batch = [];
      }
  const beyond = record(0, 0, false);
  const value = Buffer.from(beyond.value!.toString().replace('"id":0', `"id":${ROWS}`));
  if (HAS_FAULTS) batch.push({ ...beyond, key: Buffer.from(`{"id":${ROWS}}`), value });
  yield batch;
}

const sink: SinkReader = {
  schemaDestination: 'schemas',
  destinationOf: () => 'cdc',
  show: showPlace,
  read: (destination) => (destination === 'cdc' ? stored() : schemas()),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

async function* schemas(): AsyncGenerator<readonly StoredRecord[], void, void> {
  await Promise.resolve();
  const place = { lane: laneOf('schemas', 0), order: 0n };
  yield begin.map(({ key, value, position }) => ({ place, key, value, position, timestampMs: 1 }));
}

function rowsOf(tablet: number, from: number): RowBlock {
  const ids = Array.from({ length: BATCH }, (_, i) => (from + i) * TABLETS.length + tablet).filter((id) => id < ROWS);
  const price = (id: number): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(id / 8);
    return bytes;
  };
  return blockOf(
    SCHEMA,
    ids.map((id) => [int64(BigInt(id)), int32(amountOf(id)), price(id), Buffer.from(`note of row ${id}`)]),
  );
}

const tables = new MemoryTables();
tables.histories.push({ history, tabletIds: TABLETS });
tables.scan = async ({ tabletIds }, _at, take) => {
  for (const [tablet, tabletId] of tabletIds.entries())
    for (let from = 0; from * TABLETS.length < ROWS; from += BATCH) await take(tabletId, SCHEMA, rowsOf(tablet, from));
  return {
    schema: SCHEMA,
    schemaVersion: 0,
    ends: new Map(tabletIds.map((tabletId) => [tabletId, { term: 1n, index: 0n }])),
  };
};

let peakBytes = 0;
const noteMemory = (): void => {
  peakBytes = Math.max(peakBytes, process.memoryUsage().rss);
};
const watch = setInterval(noteMemory, 50);
const start = performance.now();
const kinds: string[] = [];
const result = await verify(
  {
    stream: () => Promise.resolve(tables.view(['many'])),
    reader: tables,
    sink,
    decoder: jsonDecoder('s'),
    systemTablePrefix: 'spoor.',
    timeoutMs: 1000,
    progress: noteMemory,
    at: AT,
    tableNames: null,
    report: ({ kind, key }) => kinds.push(`${kind} ${key[0]!.value}`),
    reportUnreadable: ({ reason }) => kinds.push(reason),
    reportRepeated: ({ key }) => kinds.push(`repeated ${key[0]!.value}`),
    allowsRepeats: null,
    readAgainMs: 1,
  },
  AbortSignal.timeout(600_000),
);
clearInterval(watch);
const { rows, records } = result;
const seconds = (performance.now() - start) / 1000;
process.stdout.write(
  `${JSON.stringify({ rows, records, kinds, seconds, peakMiB: Math.round(peakBytes / 2 ** 20) })}\n`,
);
