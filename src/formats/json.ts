import type { Change, ChangeBatch } from '../change/change.ts';
import type { SinkRecord } from '../change/record.ts';
import type { RecordFormat } from './format.ts';
import { jsonLayout, type JsonLayout } from './json-definition.ts';
import { EnvelopeEncoder } from './json-envelope.ts';
import { FlatEncoder } from './json-flat.ts';
import { BARE, schemaFrame } from './json-frames.ts';
import { encodeResolved } from './json-resolved.ts';
import { compileRow } from './json-row.ts';
import { encodeSchemaChange, encodeTabletEvent } from './json-schema.ts';
import { TableTexts } from './json-tables.ts';
import { valueCodec, type OnNonFinite } from './json-value-codecs.ts';

export interface JsonOptions {
  readonly streamName: string;
  /** Spoor's version as `source.version` shows it. */
  readonly version: string;
  /** Whether a delete is followed by a record without value, so that a compacted topic forgets the key. */
  readonly tombstones: boolean;
  /** Default: that of a format without options. */
  readonly layout?: JsonLayout;
  /** Where the records of a table go: the schemas in records are named after it. Default: the table's own name. */
  readonly topicOf?: (tableName: string) => string;
  readonly onNonFinite?: OnNonFinite;
}

const sameName = (table: string): string => table;
const PLAIN = jsonLayout({ type: 'json' });

/**
 * The contract's JSON records: keys and values of rows, tombstones, schema records, marks. Rows of a copy have op `r`, and no
 * row number nor operation; of what a repair found deleted there is the delete. Only applied rows are in a batch, so only
 * these make records.
 */
export function compileJson(options: JsonOptions): RecordFormat {
  const { streamName, version, tombstones, layout = PLAIN, topicOf = sameName } = options;
  const { onNonFinite = () => undefined } = options;
  const tables = new TableTexts((schema, tableName) => ({
    tableName,
    columns: compileRow(schema, (column) => valueCodec(column, layout, onNonFinite)),
    frame: layout.schema === 'block' ? schemaFrame(schema, topicOf(tableName), layout) : BARE,
  }));
  const isFlat = layout.envelope === 'flat';
  const encoder = isFlat
    ? new FlatEncoder(tables)
    : new EnvelopeEncoder(tables, { name: streamName, version, tombstones });
  return {
    needsWholeRows: isFlat || layout.schema === 'block',
    encode: (change, fromRow, out) => {
      if (change.kind === 'rows') return encoder.encodeRows(change, fromRow, out);
      out.append(recordOf(change, streamName));
      return null;
    },
  };
}

function recordOf(change: Exclude<Change, ChangeBatch>, streamName: string): SinkRecord {
  if (change.kind === 'resolved') return encodeResolved(change, streamName);
  return change.kind === 'schema' ? encodeSchemaChange(change) : encodeTabletEvent(change);
}
