import type { ChangeBatch } from '../change/change.ts';
import { RecordKind, type RecordBatch } from '../change/record-batch.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import { letterOf } from './op-words.ts';
import { varLengthBytes, writeColumns, writeKey } from './json-row.ts';
import type { TableTexts } from './json-tables.ts';
import { copy } from './json-text.ts';

const BRACE_CLOSE = 0x7d;
const BRACES_BYTES = 4;

/** Rows as they are after the operation, and nothing about it: a delete is a tombstone alone. */
export class FlatEncoder {
  readonly #tables: TableTexts;

  constructor(tables: TableTexts) {
    this.#tables = tables;
  }

  encodeRows(batch: ChangeBatch, fromRow: number, records: RecordBatch): number | null {
    const { columns, frame } = this.#tables.of(batch);
    const { opId, rowCount, cells, hybridTime } = batch;
    const { tabletId, tableName } = batch.tablet;
    const isCopy = batch.copy !== null;
    const position = isCopy ? `base.${hybridTime}` : `${opId.term}.${opId.index}.`;
    records.begin(tableName, `${tabletId}/${position}`, Math.floor(Number(hybridTimeToMicros(hybridTime)) / 1000));

    for (let row = fromRow; row < rowCount; row++) {
      if (records.isFull) return row;
      records.reserve(
        frame.maxBytes + BRACES_BYTES + 2 * (columns.maxBytes + varLengthBytes(columns, batch, cells, row)),
      );
      const out = records.bytes;
      const recordStart = records.at;
      const number = isCopy ? null : batch.rowIndexes[row]!;
      const keyStart = copy(out, recordStart, frame.keyHead);
      const keyEnd = writeKey(out, keyStart, batch, row, columns);
      const valueStart = copy(out, keyEnd, frame.end);
      if (letterOf(batch, row) === 'd') {
        records.add(RecordKind.TOMBSTONE, number, recordStart, valueStart, valueStart);
        continue;
      }
      let at = copy(out, valueStart, frame.valueHead(batch, row, false));
      out.copyWithin(at, keyStart, keyEnd - 1);
      at += keyEnd - 1 - keyStart;
      at = writeColumns(out, at, batch, cells, row, columns, columns.keyColumns, columns.columns.length);
      out[at++] = BRACE_CLOSE;
      records.add(RecordKind.ROW, number, recordStart, valueStart, copy(out, at, frame.end));
    }
    return null;
  }
}
