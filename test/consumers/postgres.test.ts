import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Apicurio } from '../support/apicurio.ts';
import { serversMissing } from '../support/cluster.ts';
import { settings } from '../support/consumers/doc-snippets.ts';
import { JdbcWay, type WayName } from '../support/consumers/jdbc-way.ts';
import { KafkaConnect } from '../support/consumers/kafka-connect.ts';
import { Orders } from '../support/consumers/orders.ts';
import { Postgres } from '../support/consumers/postgres.ts';
import { form } from '../support/forms.ts';
import type { Load } from '../support/load.ts';

const WAYS = form<readonly WayName[]>(['block'], ['bare', 'block', 'avro']);
const OPS = form(3_000, 10_000);
const KEYS = 500;

/** A table of every column type, through Kafka Connect, Debezium's unwrap and its JDBC sink: PostgreSQL's rows are Kudu's. */
describe(
  `PostgreSQL behind Kafka Connect: ${WAYS.join(', ')}`,
  { skip: await serversMissing(), timeout: 900_000 },
  () => {
    let orders: Orders;
    let postgres: Postgres;
    let ways: readonly JdbcWay[];

    before(async () => {
      orders = await Orders.start('types');
      const { servers } = orders;
      postgres = servers.use(await Postgres.start());
      const apicurio = WAYS.includes('avro') ? servers.use(await Apicurio.start()) : null;
      const connect = servers.use(
        await KafkaConnect.start(settings('connect-worker', { 'kafka:9092': orders.brokers })),
      );
      ways = WAYS.map((name) => new JdbcWay(name, { orders, connect, postgres, apicurio }));
    });
    after(() => orders[Symbol.asyncDispose]());

    function load(ops: number): Load {
      return orders.load({ ops, rate: 2_000, keys: KEYS, threads: 2, withoutNul: true });
    }

    async function assertAllArrive(): Promise<void> {
      const { schema, dump } = await orders.shipped(WAYS);
      const failures: unknown[] = [];
      for (const way of ways) await way.arrives(schema, dump).catch((error: unknown) => failures.push(error));
      assert.deepEqual(failures, []);
    }

    /** A connector that knows the schema by its settings stands still meanwhile, and gets new ones. */
    async function alter(steps: Parameters<Orders['alter']>[0]): Promise<void> {
      const bare = ways.find(({ name }) => name === 'bare');
      await bare?.pause();
      await orders.alter(steps);
      await bare?.configure();
    }

    it('has the rows of before, and follows inserts, whole and partial updates and upserts, nulls and deletes', async () => {
      await orders.load({ ops: 500, fill: 300, keys: KEYS, withoutNul: true }).finished();
      for (const way of ways) await way.begin();
      await load(OPS).finished();
      await assertAllArrive();
    });

    it('follows over changes of leaders, and takes in a column that is added meanwhile', async () => {
      const first = load(OPS);
      await alter([{ add: { name: 'note', type: 'STRING', nullable: true } }]);
      const second = load(OPS);
      await orders.stepDown();
      await first.finished();
      await second.finished();
      await assertAllArrive();
    });

    it('goes on without a column that was dropped; one that has a default, or another name, is altered there too', async () => {
      await alter([{ drop: 'int16' }]);
      await load(OPS).finished();
      await assertAllArrive();
      await alter([{ add: { name: 'level', type: 'INT32', default: 5 } }, { rename: 'string', to: 'text' }]);
      for (const { table } of ways)
        await postgres.execute(
          `ALTER TABLE "${table}" ADD COLUMN "level" integer DEFAULT 5; ALTER TABLE "${table}" RENAME COLUMN "string" TO "text"`,
        );
      await load(OPS).finished();
      await assertAllArrive();
    });
  },
);
