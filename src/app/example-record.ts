import { copiedRows } from '../change/copied-rows.ts';
import { RowOp, type ChangeBatch, type TabletRef } from '../change/change.ts';
import { RecordBatch } from '../change/record-batch.ts';
import { sliceRows } from '../change/slice-rows.ts';
import type { RecordExample } from '../api/shapes.ts';
import type { SinkPlanner } from '../api/stream-plan.ts';
import { jsonLayout } from '../formats/json-definition.ts';
import { compileJson } from '../formats/json.ts';
import { cellBytes, isVarLength } from '../kudu/cell-codec.ts';
import type { KuduClient } from '../kudu/client.ts';
import { microsToHybridTime } from '../kudu/hybrid-time.ts';
import { RowBlock } from '../kudu/row-block.ts';
import { DataType, type ColumnSchema, type TableSchema } from '../kudu/schema.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import type { CatalogTable } from '../streams/table-catalog.ts';
import { ByteArena } from '../util/byte-arena.ts';
import { SPOOR_VERSION } from '../util/version.ts';
import { placeOf, selectionFor } from './formats.ts';

/** So many rows of so many tablets are looked at for one that the stream wants. */
const ROWS_LOOKED_AT = 100;
const TABLETS_LOOKED_AT = 4;
/** Larger than what one looks at by eye. */
const ARENA_BYTES = 1 << 16;
const MADE_UP_TEXT = '…';

export interface ExampleOptions {
  readonly client: Pick<KuduClient, 'openTable'>;
  readonly planSink: SinkPlanner;
}

/**
 * What the first record of a table would be in a stream that is not there yet: of a row that the table has and the stream
 * wants; of one that is made up where there is none. In JSON, whatever the format: its envelope and its columns are the same.
 * @throws {KuduError} the table cannot be read; {@link SpoorError} it does not fit the stream; {@link SinkError} a salt cannot be read
 */
export async function exampleRecord(
  definition: StreamDefinition,
  { tableId, name: tableName, tablets }: CatalogTable,
  begins: 'copy' | 'now',
  { client, planSink }: ExampleOptions,
  signal: AbortSignal,
): Promise<RecordExample> {
  const table = await client.openTable({ tableId }, { signal });
  const { schema } = table.description;
  const selection = await selectionFor(definition);
  const asBegun = (block: RowBlock, tablet: TabletRef): ChangeBatch => asFirst(rowsOf(block, schema, tablet), begins);
  const shown = (wanted: ChangeBatch, isMadeUp: boolean): RecordExample => ({
    table: tableName,
    ...encoded(sliceRows(wanted, 0, 1), definition, planSink),
    isMadeUp,
  });
  const isRead = begins === 'copy' || definition.images !== 'changed'; // else a stream may do without the right to
  for (const { tabletId } of isRead ? tablets.slice(0, TABLETS_LOOKED_AT) : [])
    for await (const block of table.scanTablet(tabletId, schema, { limit: ROWS_LOOKED_AT, signal })) {
      if (block.rowCount === 0) continue;
      const wanted = selection.select(asBegun(block, { tableId, tabletId, tableName }), tableName);
      if (wanted !== null && wanted.rowCount > 0) return shown(wanted, false);
    }
  const tablet = { tableId, tabletId: tablets[0]?.tabletId ?? '', tableName };
  const wanted = (await selectionFor({ ...definition, where: {} })).select(asBegun(madeUp(schema), tablet), tableName);
  return shown(wanted!, true);
}

function rowsOf(block: RowBlock, schema: TableSchema, tablet: TabletRef): ChangeBatch {
  const places = Int32Array.from(schema.columns.keys());
  const hybridTime = microsToHybridTime(BigInt(Date.now()) * 1000n);
  return copiedRows({
    copy: 'base',
    tablet,
    opId: { term: 1n, index: 1n },
    hybridTime,
    schema,
    block,
    places,
    skip: 0,
  });
}

/** Without a copy the first record is of whatever is written first: an INSERT, say. */
function asFirst(batch: ChangeBatch, begins: 'copy' | 'now'): ChangeBatch {
  if (begins === 'copy') return batch;
  return { ...batch, copy: null, ops: new Uint8Array(batch.rowCount).fill(RowOp.INSERT) };
}

function encoded(
  row: ChangeBatch,
  definition: StreamDefinition,
  planSink: SinkPlanner,
): Pick<RecordExample, 'key' | 'value'> {
  const { name: streamName, tombstones, format } = definition;
  const layout = jsonLayout(format.type === 'json' ? format : { type: 'json' });
  const topicOf = (table: string): string => placeOf(definition, table, planSink);
  const out = new RecordBatch(new ByteArena(ARENA_BYTES));
  compileJson({ streamName, version: SPOOR_VERSION, tombstones, layout, topicOf }).encode(row, 0, out);
  const { key, value } = out.record(0);
  return { key: key.toString(), value: value!.toString() };
}

/** One row in which nothing is null. */
function madeUp({ columns, ...schema }: TableSchema): RowBlock {
  const cells = columns.map(madeUpCell);
  const nulls = columns.some(({ nullable }) => nullable) ? [Buffer.alloc(Math.ceil(columns.length / 8))] : [];
  return new RowBlock({ ...schema, columns }, 1, Buffer.concat([...cells, ...nulls]), Buffer.from(MADE_UP_TEXT));
}

function madeUpCell({ type }: ColumnSchema): Buffer {
  const cell = Buffer.alloc(cellBytes(type));
  if (isVarLength(type)) cell.writeBigUInt64LE(BigInt(Buffer.byteLength(MADE_UP_TEXT)), 8);
  else if (type !== DataType.FLOAT && type !== DataType.DOUBLE) cell[0] = 1;
  return cell;
}
