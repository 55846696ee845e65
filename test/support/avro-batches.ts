import { RecordBatch } from '../../src/change/record-batch.ts';
import type { RecordSchemas, SinkRecord } from '../../src/change/record.ts';
import { runOf } from '../../src/sinks/file/avro/avro-container.ts';

/** Schemas by which any text can be written, one for each version. */
export function textSchemas(version: number): RecordSchemas {
  return { key: '"string"', value: JSON.stringify({ type: 'string', version }) };
}

/** Key and value, which are text, as texts of Avro; what is no row stays as it is. */
export function asAvroText(record: SinkRecord, schemas: RecordSchemas): SinkRecord {
  if (record.kind !== 'row' && record.kind !== 'tombstone') return record;
  const { key, value } = record;
  return { ...record, key: runOf(key.toString()), value: value && runOf(value.toString()), schemas };
}

/** Batches of such, made when they are taken. @param versionOf of the table at a record */
export function* avroBatches(
  batches: Iterable<RecordBatch>,
  versionOf: (record: SinkRecord) => number = () => 0,
): Generator<RecordBatch> {
  for (const batch of batches)
    yield RecordBatch.of(Array.from(batch, (record) => asAvroText(record, textSchemas(versionOf(record)))));
}

/** The index of the operation that a record is of. */
export function indexOf({ position }: Pick<SinkRecord, 'position'>): number {
  return Number(position.split('.')[1]);
}

/** The text that {@link asAvroText} has written. */
export function fromAvroText(bytes: Buffer): string {
  const lengthBytes = bytes.findIndex((byte) => byte < 0x80) + 1;
  return bytes.toString('utf8', lengthBytes);
}
