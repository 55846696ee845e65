import type { ChangeBatch } from '../../change/change.ts';
import type { TableSchema } from '../../kudu/schema.ts';

/** Writes the keys and values of the rows of one version of a table. */
export interface RowWriter {
  /** The rows that follow are of that batch. */
  begin(batch: ChangeBatch): void;
  /** Of a row's key and value together. */
  maxBytes(batch: ChangeBatch, row: number): number;
  /** @returns where it ends */
  writeKey(out: Buffer, at: number, batch: ChangeBatch, row: number): number;
  /**
   * @param keyStart where in `out` the row's key was written
   * @returns where it ends
   * @throws {RangeError} the format has no way to write what the row has
   */
  writeValue(out: Buffer, at: number, batch: ChangeBatch, row: number, keyStart: number, keyEnd: number): number;
}

/** The schemas of a table's records, as texts that are the same wherever they are made. */
export interface SchemaTexts {
  readonly key: string;
  readonly value: string;
  /** Full names of what they describe. */
  readonly keyName: string;
  readonly valueName: string;
}

/** A format whose records say by a number which schema they were written under. */
export interface TypedFormat {
  /** As the registry calls it. */
  readonly schemaType: 'AVRO' | 'PROTOBUF';
  /** What stands between the schema's number and the record. */
  readonly preamble: Buffer;
  /** @throws {RangeError} the table cannot be described */
  schemas(schema: TableSchema, topic: string): SchemaTexts;
  /** @throws {RangeError} as {@link schemas} */
  compile(schema: TableSchema, topic: string): RowWriter;
}
