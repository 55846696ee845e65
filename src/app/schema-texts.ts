import type { TableSchemas } from '../api/shapes.ts';
import type { SinkPlanner } from '../api/stream-plan.ts';
import { SpoorError } from '../errors.ts';
import { avroSchemas, type AvroSchemaOptions } from '../formats/avro/avro-schema.ts';
import { jsonLayout } from '../formats/json-definition.ts';
import { protoSchemas, type ProtoTypes } from '../formats/protobuf/proto-schema.ts';
import {
  clickHouseTableText,
  connectKeyText,
  connectValueText,
  flinkTableText,
  jsonSchemaText,
  type SchemaSubject,
} from '../formats/schema-texts.ts';
import type { TableSchema } from '../kudu/schema.ts';
import { Selection } from '../selection/selection.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import { placeOf, topicNameOf } from './formats.ts';

/** What Avro and Protocol Buffers say of a table where the stream itself is in another format. */
const AVRO: AvroSchemaOptions = { names: 'avro', decimals: 'precise', time: 'adaptive' };
const PROTOBUF: ProtoTypes = { decimals: 'string', time: 'adaptive' };
/** Of what is hashed the type alone is told. */
const NO_SALT = Buffer.alloc(0);

/**
 * What a consumer needs to know of the records of a table, in the words of each of them.
 * @param joinedAs the name under which the table joined the stream: what is selected of it goes by that
 */
export function schemaTexts(
  definition: StreamDefinition,
  { table, joinedAs }: { readonly table: string; readonly joinedAs: string },
  stored: TableSchema,
  planSink: SinkPlanner,
): TableSchemas {
  const { format } = definition;
  try {
    const topic = placeOf(definition, table, planSink);
    const schema = new Selection(definition, () => NO_SALT).project(stored, joinedAs);
    const avro =
      format.type === 'avro'
        ? avroSchemas(schema, topicNameOf(definition, table, planSink), format)
        : orNone(() => avroSchemas(schema, topic, AVRO));
    const protobuf =
      format.type === 'protobuf'
        ? protoSchemas(schema, topic, format)
        : orNone(() => protoSchemas(schema, topic, PROTOBUF));
    return {
      table,
      topic,
      ...(avro && { avro: { key: avro.key, value: avro.value } }),
      ...(protobuf && { protobuf: { key: protobuf.key, value: protobuf.value } }),
      ...(format.type === 'json' && jsonTexts({ table, schema, topic, layout: jsonLayout(format) })),
    };
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof SpoorError)) throw error;
    return { table, topic: null, reason: error.message };
  }
}

/** Null where the table has none in a format that the stream is not in. */
function orNone<T>(describe: () => T): T | null {
  try {
    return describe();
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function jsonTexts(subject: SchemaSubject): Pick<TableSchemas, 'connect' | 'jsonSchema' | 'flink' | 'clickHouse'> {
  return {
    connect: { key: connectKeyText(subject), value: connectValueText(subject) },
    jsonSchema: jsonSchemaText(subject),
    flink: flinkTableText(subject),
    clickHouse: clickHouseTableText(subject),
  };
}
