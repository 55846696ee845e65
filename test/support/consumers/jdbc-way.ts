import assert from 'node:assert/strict';
import type { Apicurio } from '../apicurio.ts';
import { eventually } from '../eventually.ts';
import { settings } from './doc-snippets.ts';
import type { KafkaConnect } from './kafka-connect.ts';
import type { Postgres } from './postgres.ts';
import { differencesFromKudu } from './kudu-rows.ts';
import { ORDERS, type Orders } from './orders.ts';
import { rowsOf } from './postgres-table.ts';
import type { TableSchema } from '../../../src/kudu/schema.ts';

const ARRIVES_MS = 120_000;

/** What docs/consumers.md knows: how the sink gets to know the types of the columns. */
export type WayName = 'bare' | 'block' | 'avro';

interface World {
  readonly orders: Orders;
  readonly connect: KafkaConnect;
  readonly postgres: Postgres;
  /** Where Avro is among the ways. */
  readonly apicurio: Apicurio | null;
}

/** One way of `shop.orders` into PostgreSQL, as docs/consumers.md says: a stream, its topic, a connector, and a table. */
export class JdbcWay {
  readonly name: WayName;
  readonly #world: World;

  constructor(name: WayName, world: World) {
    this.name = name;
    this.#world = world;
  }

  /** Of the table in PostgreSQL. */
  get table(): string {
    return `orders_${this.name}`;
  }

  async begin(): Promise<void> {
    const { orders, apicurio } = this.#world;
    await orders.stream(`stream-${this.name}`, this.name, { registry: this.name === 'avro' ? apicurio : null });
    await this.configure();
  }

  /** Gives the connector its settings, with the schema of now where they have one. */
  async configure(): Promise<void> {
    const { orders, connect, postgres, apicurio } = this.#world;
    const sink = settings('connect-sink', {
      'cdc.shop.orders': `${this.name}.${ORDERS}`,
      'jdbc:postgresql://postgres:5432/shop': postgres.jdbcUrl,
      '"orders"': `"${this.table}"`,
    });
    const converters = settings(
      `connect-${this.name}`,
      this.name === 'avro' ? { 'http://registry:8080/apis/registry/v2': apicurio!.registryV2Url } : {},
    );
    if (this.name === 'bare') {
      const { body } = await orders.cluster.api<readonly { connect: { key: string; value: string } }[]>(
        'GET',
        `/v1/streams/${this.name}/schemas?table=${ORDERS}`,
      );
      for (const which of ['key', 'value'] as const) {
        assert.equal(converters[`${which}.converter.schema.content`], `<connect.${which}>`);
        converters[`${which}.converter.schema.content`] = body[0]!.connect[which];
      }
    }
    await connect.configure(this.name, { ...sink, ...converters });
  }

  /** Until it is configured again. */
  async pause(): Promise<void> {
    await this.#world.connect.pause(this.name);
  }

  /** Resolves when the table in PostgreSQL is that of Kudu. @throws {Error} with what differs, or why the connector failed */
  async arrives(schema: TableSchema, dump: readonly string[]): Promise<void> {
    const { connect, postgres } = this.#world;
    const way = this.name === 'avro' ? 'exact' : 'json';
    let differences: readonly string[] = [];
    let failure: unknown = null;
    await eventually(
      `${this.table} is as in Kudu`,
      async () => {
        try {
          await connect.assertRuns(this.name);
        } catch (error) {
          failure = error;
          return true;
        }
        differences = differencesFromKudu(schema, await rowsOf(postgres, this.table, schema), dump, way);
        return differences.length === 0;
      },
      ARRIVES_MS,
    ).catch((error: unknown) => {
      failure ??= new Error(`${this.table}:\n${differences.join('\n')}`, { cause: error });
    });
    if (failure !== null) throw failure as Error;
  }
}
