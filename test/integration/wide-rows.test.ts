import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { KuduClient } from '../../src/kudu/client.ts';
import { RowOperationsEncoder, RowOpType } from '../../src/kudu/row-operations.ts';
import { schemaToPb } from '../../src/kudu/schema-codec.ts';
import { peakMemoryMib } from '../bench/process-usage.ts';
import { serversMissing } from '../support/cluster.ts';
import { form } from '../support/forms.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

const TABLETS = 16;
const ROWS = 600;
/** Characters of a cell; an operation has 36 MB of them, and Kudu takes no request beyond 50. */
const WIDTH = 60_000;
const MAX_PEAK_MIB = 300;

describe('wide rows', { skip: await serversMissing(), timeout: 480_000 }, () => {
  for (const delivery of form(['exactly-once'], ['exactly-once', 'at-least-once']))
    it(`of operations of 36 MB in 16 tablets fit into ${MAX_PEAK_MIB} MiB: ${delivery}`, async (t) => {
      await using cluster = await SpoorCluster.start({
        tservers: 1,
        flags: ['--log_min_segments_to_retain=64'], // nobody holds the log while the sidecar is away
        env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1' },
      });
      using client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000 });
      const table = await client.createTable({
        name: 'wide',
        columns: [
          { name: 'p', type: 'INT32', key: true },
          { name: 'id', type: 'INT32', key: true },
          { name: 'text', type: 'STRING' },
        ],
        range: {
          columns: ['p'],
          partitions: Array.from({ length: TABLETS }, (_, p) => ({ lower: { p }, upper: { p: p + 1 } })),
        },
        numReplicas: 1,
      });
      await cluster.createStream('wide', ['wide'], { sink: { delivery } });
      await cluster.waitForTablets('wide', ({ state }) => state === 'running');
      const [sidecar] = cluster.sidecars;
      const server = client.tabletServer(cluster.kudu.tservers[0]!.rpc);
      /** One operation in each tablet, one behind the other. */
      const writeRound = async (round: number): Promise<void> => {
        const { schema } = table.description;
        for (const [p, { tabletId }] of (await table.tablets()).entries()) {
          const rows = new RowOperationsEncoder(schema);
          for (let id = 0; id < ROWS; id++)
            rows.add(RowOpType.INSERT, { p, id: round * ROWS + id, text: randomBytes(WIDTH / 2).toString('hex') });
          const { rows: bytes, indirect } = rows.finish();
          // As one operation, whereas a table's own `write` makes several.
          await server.write({
            tabletId: Buffer.from(tabletId),
            schema: schemaToPb(schema, { withIds: false }),
            rowOperations: { rows: bytes, indirectData: indirect },
          });
        }
      };
      const caughtUpWithin = async (what: string): Promise<void> => {
        await cluster.waitForTablets('wide', isCaughtUp, 200_000);
        const peakMib = await peakMemoryMib(sidecar!.pid);
        t.diagnostic(`${what}: at most ${Math.round(peakMib)} MiB resident`);
        assert.ok(peakMib < MAX_PEAK_MIB, `${what}: ${peakMib} MiB`);
      };

      await sidecar!.stop();
      await writeRound(0);
      await sidecar!.restart();
      await sidecar!.waitUntilReady();
      await caughtUpWithin('a backlog of one in each');

      await writeRound(1);
      await caughtUpWithin('another in each, shipped at once');
      const fold = await cluster.fold('wide', 2 * TABLETS * ROWS);
      assert.equal(fold.records, 2 * TABLETS * ROWS);
    });
});
