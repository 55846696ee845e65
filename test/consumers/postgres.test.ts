import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import { Apicurio } from '../support/apicurio.ts';
import { serversMissing } from '../support/cluster.ts';
import { settings } from '../support/consumers/doc-snippets.ts';
import { JdbcWay, type WayName } from '../support/consumers/jdbc-way.ts';
import { KafkaConnect } from '../support/consumers/kafka-connect.ts';
import { OpenServers } from '../support/consumers/open-servers.ts';
import { Postgres } from '../support/consumers/postgres.ts';
import { form } from '../support/forms.ts';
import { javaTool } from '../support/java-tools.ts';
import { USUAL_FLAGS } from '../support/leased-cluster.ts';
import { Load } from '../support/load.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

const WAYS = form<readonly WayName[]>(['block'], ['bare', 'block', 'avro']);
const OPS = form(3_000, 10_000);
const TABLE = 'shop.orders';
const KEYS = 500;

/** A table of every column type, through Kafka Connect, Debezium's unwrap and its JDBC sink: PostgreSQL's rows are Kudu's. */
describe(
  `PostgreSQL behind Kafka Connect: ${WAYS.join(', ')}`,
  { skip: await serversMissing(), timeout: 900_000 },
  () => {
    const servers = new OpenServers();
    let cluster: SpoorCluster;
    let postgres: Postgres;
    let client: KuduClient;
    let watch: ReplicaWatch;
    let ways: readonly JdbcWay[];

    before(async () => {
      cluster = servers.use(await SpoorCluster.start({ flags: USUAL_FLAGS }));
      postgres = servers.use(await Postgres.start());
      const apicurio = WAYS.includes('avro') ? servers.use(await Apicurio.start()) : null;
      const connect = servers.use(
        await KafkaConnect.start(settings('connect-worker', { 'kafka:9092': cluster.kafka.brokers.join(',') })),
      );
      client = servers.use(await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000 }));
      watch = servers.use(await ReplicaWatch.open(cluster));
      ways = WAYS.map((name) => new JdbcWay(name, { cluster, connect, postgres, apicurio }));
    });
    after(() => servers[Symbol.asyncDispose]());

    function load(ops: number): Load {
      return Load.start(cluster, TABLE, { ops, rate: 2_000, keys: KEYS, threads: 2, withoutNul: true });
    }

    async function assertAllArrive(): Promise<void> {
      for (const { name } of ways) await cluster.waitForTablets(name, isCaughtUp);
      const { schema } = (await client.openTable({ name: TABLE })).description;
      const dump = await cluster.dump(TABLE);
      const failures: unknown[] = [];
      for (const way of ways) await way.arrives(schema, dump).catch((error: unknown) => failures.push(error));
      assert.deepEqual(failures, []);
    }

    /** A connector that knows the schema by its settings stands still meanwhile, and gets new ones. */
    async function alter(steps: Parameters<KuduClient['alterTable']>[1]['steps']): Promise<void> {
      const bare = ways.find(({ name }) => name === 'bare');
      await bare?.pause();
      await client.alterTable({ name: TABLE }, { steps: steps! }, { timeoutMs: 60_000 });
      await bare?.configure();
    }

    it('has the rows of before, and follows inserts, whole and partial updates and upserts, nulls and deletes', async () => {
      await javaTool('create-table', { masters: cluster.masters, table: TABLE, shape: 'types', buckets: 3 });
      await Load.start(cluster, TABLE, { ops: 500, fill: 300, keys: KEYS, withoutNul: true }).finished();
      for (const way of ways) await way.begin();
      await load(OPS).finished();
      await assertAllArrive();
    });

    it('follows over changes of leaders, and takes in a column that is added meanwhile', async () => {
      const tabletIds = await watch.tabletIds(TABLE);
      const first = load(OPS);
      await alter([{ add: { name: 'note', type: 'STRING', nullable: true } }]);
      const second = load(OPS);
      for (const tabletId of tabletIds) await watch.stepDown(tabletId);
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
