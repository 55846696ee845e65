import { RowOp, type ChangeBatch, type TabletRef } from '../../src/change/change.ts';
import { decodeWrite } from '../../src/change/decode-write.ts';
import { compileRowLayout } from '../../src/change/row-layout.ts';
import { RegisteredFormat, type RegisteredOptions } from '../../src/formats/typed/registered.ts';
import type { TypedFormat } from '../../src/formats/typed/row-writer.ts';
import type { SchemaText } from '../../src/formats/registry/registry-client.ts';
import { SchemaIds } from '../../src/formats/registry/schema-ids.ts';
import type { TableSchema } from '../../src/kudu/schema.ts';
import { encodeRows, type TestRow } from './row-bytes.ts';

export const TABLET: TabletRef = { tableId: 'table1', tabletId: 'tablet1', tableName: 'shop.orders' };
export const TIME = 7353716506897408000n; // 1795340944066750 us

/** One operation of term 7, index 12345. */
export function writeBatch(
  schema: TableSchema,
  rows: readonly TestRow[],
  more: Partial<ChangeBatch> = {},
): ChangeBatch {
  const batch = decodeWrite({
    tablet: TABLET,
    opId: { term: 7n, index: 12345n },
    hybridTime: TIME,
    layout: compileRowLayout(schema, schema),
    ...encodeRows(schema, rows),
    results: new Uint8Array(rows.length).fill(1),
    autoIncrementCounter: 41n,
  });
  return { ...batch, ...more };
}

export function inserts(rows: readonly (readonly (Buffer | null)[])[]): TestRow[] {
  return rows.map((cells) => ({ op: RowOp.INSERT, cells }));
}

/** Gives numbers to texts in the order in which they come, from 1 on, and says what it was asked. */
export class MemoryRegistry {
  readonly texts: string[] = [];
  readonly subjects: string[] = [];
  readonly schemaType: SchemaText['schemaType'];

  constructor(schemaType: SchemaText['schemaType'] = 'AVRO') {
    this.schemaType = schemaType;
  }

  register(subject: string, { text }: { text: string }): Promise<number> {
    if (!this.texts.includes(text)) this.texts.push(text);
    this.subjects.push(subject);
    return Promise.resolve(this.texts.indexOf(text) + 1);
  }

  schemaOf(id: number): Promise<SchemaText | null> {
    const text = this.texts[id - 1];
    return Promise.resolve(text === undefined ? null : { schemaType: this.schemaType, text });
  }

  lookUp(subject: string, schema: { text: string }): Promise<number> {
    return this.register(subject, schema);
  }
}

export function registeredFormat(
  format: TypedFormat,
  registry = new MemoryRegistry(),
  more: Partial<RegisteredOptions> = {},
): RegisteredFormat {
  return new RegisteredFormat({
    format,
    ids: new SchemaIds({ client: registry }),
    subject: 'topic',
    autoRegister: true,
    topicOf: (table) => `cdc.${table}`,
    tombstones: true,
    ...more,
  });
}
