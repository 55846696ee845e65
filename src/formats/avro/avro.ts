import type { SchemaTexts, TypedFormat } from '../typed/row-writer.ts';
import { AvroRows } from './avro-rows.ts';
import { avroSchemas, type AvroSchemaOptions } from './avro-schema.ts';
import { AvroSource } from './avro-source.ts';

export interface AvroOptions extends AvroSchemaOptions {
  readonly streamName: string;
  /** Spoor's version as `source.version` shows it. */
  readonly version: string;
}

/** Debezium's records in Avro. Decimals and times as the options say; of floating point numbers every bit. */
export function avroFormat(options: AvroOptions): TypedFormat {
  const source = new AvroSource(options.version, options.streamName); // one batch is written after the other
  return {
    schemaType: 'AVRO',
    preamble: Buffer.alloc(0),
    schemas: (schema, topic): SchemaTexts => avroSchemas(schema, topic, options),
    compile: (schema) => new AvroRows(schema, source, options),
  };
}
