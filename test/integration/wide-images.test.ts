import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import { RowOperationsEncoder, RowOpType, type Row } from '../../src/kudu/row-operations.ts';
import { schemaToPb } from '../../src/kudu/schema-codec.ts';
import { peakMemoryMib } from '../bench/process-usage.ts';
import { serversMissing } from '../support/cluster.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';
import { TopicReader } from '../support/topic-reader.ts';

const ROWS = 100_000;
/** Rows that the operation touches once more, far behind the first time. */
const TWICE = 1000;
const WIDTH = 2000;
const ROWS_PER_WRITE = 10_000;
const MAX_PEAK_MIB = 300;

interface Image {
  readonly id: number;
  readonly n: number;
  readonly text: string;
}

describe('narrow updates of wide rows', { skip: await serversMissing(), timeout: 480_000 }, () => {
  it(`of one operation, with images of 400 MB, fit into ${MAX_PEAK_MIB} MiB, and come once each although the sidecar is killed in their midst`, async (t) => {
    await using cluster = await SpoorCluster.start({
      tservers: 1,
      flags: ['--log_min_segments_to_retain=64'], // nobody holds the log while the sidecar is away
      env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1' },
    });
    using client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000 });
    const table = await client.createTable({
      name: 'wide',
      columns: [
        { name: 'id', type: 'INT32', key: true },
        { name: 'n', type: 'INT32' },
        { name: 'text', type: 'STRING' },
      ],
      hash: [],
      numReplicas: 1,
    });
    const server = client.tabletServer(cluster.kudu.tservers[0]!.rpc);
    const [tablet] = await table.tablets();
    /** As one operation, whereas a table's own `write` makes several. */
    const write = async (op: RowOpType, rows: Iterable<Row>): Promise<void> => {
      const encoder = new RowOperationsEncoder(table.description.schema);
      for (const row of rows) encoder.add(op, row);
      const { rows: bytes, indirect } = encoder.finish();
      await server.write({
        tabletId: Buffer.from(tablet!.tabletId),
        schema: schemaToPb(table.description.schema, { withIds: false }),
        rowOperations: { rows: bytes, indirectData: indirect },
      });
    };
    const heads: string[] = [];
    for (let from = 0; from < ROWS; from += ROWS_PER_WRITE) {
      const rows = Array.from({ length: ROWS_PER_WRITE }, (_, i) => {
        const text = randomBytes(WIDTH / 2).toString('hex');
        heads.push(text.slice(0, 16));
        return { id: from + i, n: -1, text };
      });
      await write(RowOpType.INSERT, rows);
    }
    await cluster.createStream('wide', ['wide'], { images: 'full' });
    await cluster.waitForTablets('wide', ({ state }) => state === 'running');
    const [sidecar] = cluster.sidecars;
    await sidecar!.stop();
    await write(
      RowOpType.UPDATE,
      Array.from({ length: ROWS + TWICE }, (_, i) => ({ id: i % ROWS, n: i })),
    );
    await sidecar!.restart();

    const rows: number[] = [];
    const wrong: string[] = [];
    await using reader = await TopicReader.start({
      brokers: cluster.kafka.brokers,
      topics: ['wide'],
      onRecord: ({ value, headers }) => {
        const row = Number(headers['spoor.pos']!.split('.').at(-1));
        rows.push(row);
        const { before, after } = JSON.parse(value!.toString()) as { before: Image; after: Image };
        const id = row % ROWS;
        const was = row < ROWS ? -1 : id;
        const isRight = ({ id: of, n, text }: Image, wants: number): boolean =>
          of === id && n === wants && text.length === WIDTH && text.startsWith(heads[id]!);
        if (!isRight(before, was) || !isRight(after, row)) wrong.push(headers['spoor.pos']!);
      },
    });
    const peaks: number[] = [];
    while (rows.length < ROWS / 5) await sleep(20);
    peaks.push(await peakMemoryMib(sidecar!.pid));
    await sidecar!.kill();
    const shippedBefore = rows.length;
    await sidecar!.restart();
    await sidecar!.waitUntilReady();
    const beganMs = performance.now();
    await cluster.waitForTablets('wide', isCaughtUp, 200_000);
    peaks.push(await peakMemoryMib(sidecar!.pid));
    const seconds = (performance.now() - beganMs) / 1000;
    t.diagnostic(
      `at most ${peaks.map(Math.round).join(' and ')} MiB resident; killed behind ${shippedBefore} rows, the rest took ${seconds.toFixed(1)} s`,
    );
    await reader.settle(() => rows.length >= ROWS + TWICE, { timeoutMs: 60_000 });
    assert.ok(shippedBefore < ROWS, 'it was killed in the midst of them');
    assert.equal(rows.length, ROWS + TWICE);
    assert.equal(new Set(rows).size, ROWS + TWICE, 'each once');
    assert.deepEqual(wrong.slice(0, 5), []);
    for (const peakMib of peaks) assert.ok(peakMib < MAX_PEAK_MIB, `${peakMib} MiB`);
  });
});
