import type { TableSchemas } from '../api/shapes.ts';
import type { SinkPlanner } from '../api/stream-plan.ts';
import { avroSchemas, type AvroSchemaOptions } from '../formats/avro/avro-schema.ts';
import { protoSchemas, type ProtoTypes } from '../formats/protobuf/proto-schema.ts';
import type { TableSchema } from '../kudu/schema.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import { placeOf } from './formats.ts';

/** What Avro and Protocol Buffers say of a table where the stream itself is in another format. */
const AVRO: AvroSchemaOptions = { names: 'avro', decimals: 'precise', time: 'adaptive' };
const PROTOBUF: ProtoTypes = { decimals: 'string' };

/** What a consumer needs to know of the records of a table, in the words of each of them. */
export function schemaTexts(
  definition: StreamDefinition,
  table: string,
  schema: TableSchema,
  planSink: SinkPlanner,
): TableSchemas {
  const { format } = definition;
  try {
    const topic = placeOf(definition, table, planSink);
    const avro = avroSchemas(schema, topic, format.type === 'avro' ? format : AVRO);
    const protobuf = protoSchemas(schema, topic, format.type === 'protobuf' ? format : PROTOBUF);
    return {
      table,
      topic,
      avro: { key: avro.key, value: avro.value },
      protobuf: { key: protobuf.key, value: protobuf.value },
    };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { table, topic: null, reason: error.message };
  }
}
