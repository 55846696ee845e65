import type { ConnectSchema } from '../../src/formats/connect-schema.ts';

/**
 * Reads a JSON record as Kafka Connect's JsonConverter does with `schemas.enable`, written down from its behaviour
 * (consumers.md 1.1, 1.3): exactly `schema` and `payload`; a field that is missing is null, which only an optional one may
 * be; fields that the schema does not name are left aside.
 * @throws {Error} what a task would fail with
 */
export function readConnectRecord(text: string): { readonly schema: ConnectSchema; readonly payload: unknown } {
  const record = JSON.parse(text) as Record<string, unknown>;
  if (Object.keys(record).join() !== 'schema,payload') throw new Error('not exactly schema and payload');
  const schema = record['schema'] as ConnectSchema;
  check(schema, record['payload'], 'payload');
  return { schema, payload: record['payload'] };
}

/** @throws {Error} the value is none of the schema */
function check(schema: ConnectSchema, value: unknown, path: string): void {
  if (value === null || value === undefined) {
    if (!schema.optional) throw new Error(`${path}: null for required ${schema.type}`);
    return;
  }
  switch (schema.type) {
    case 'struct':
      if (typeof value !== 'object') throw new Error(`${path}: not an object`);
      for (const field of schema.fields ?? [])
        check(field, (value as Record<string, unknown>)[field.field], `${path}.${field.field}`);
      return;
    case 'string':
      if (typeof value !== 'string') throw new Error(`${path}: not a string`);
      return;
    case 'bytes':
      if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw new Error(`${path}: not base64`);
      return;
    case 'boolean':
      if (typeof value !== 'boolean') throw new Error(`${path}: not a boolean`);
      return;
    default:
      if (typeof value !== 'number') throw new Error(`${path}: not a number`); // a text would become 0 without a word
  }
}
