import type { SchemaTexts, TypedFormat } from '../typed/row-writer.ts';
import { ProtoRows } from './proto-rows.ts';
import { protoSchemas, type ProtoTypes } from './proto-schema.ts';
import { ProtoSource } from './proto-source.ts';

export interface ProtobufOptions extends ProtoTypes {
  readonly streamName: string;
  /** Spoor's version as `source.version` shows it. */
  readonly version: string;
}

/** Which message of its file a record is: the first. */
const FIRST_MESSAGE = Buffer.from([0]);

/** Debezium's records as messages of Protocol Buffers, each table with types of its own. */
export function protobufFormat(options: ProtobufOptions): TypedFormat {
  const source = new ProtoSource(options.version, options.streamName); // one batch is written after the other
  return {
    schemaType: 'PROTOBUF',
    preamble: FIRST_MESSAGE,
    schemas: (schema, topic): SchemaTexts => protoSchemas(schema, topic, options),
    compile: (schema) => new ProtoRows(schema, source, options),
  };
}
