import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { runCommand } from '../../src/demo/run-command.ts';
import { installPackages } from '../../src/demo/system-packages.ts';
import { Apicurio } from '../support/apicurio.ts';
import { artifactOptions, serversMissing } from '../support/cluster.ts';
import { snippet } from '../support/consumers/doc-snippets.ts';
import { runFlinkSql, type FlinkChange } from '../support/consumers/flink.ts';
import { ORDERS, Orders, REGISTRY } from '../support/consumers/orders.ts';
import { parseLossless, type LosslessJson } from '../support/lossless-json.ts';
import { TopicReader } from '../support/topic-reader.ts';

/** Flink SQL and kcat, as docs/consumers.md says, of a table under mixed operations and changes of leaders. */
describe('Flink SQL and kcat', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let orders: Orders;
  let registry: Apicurio;
  let rows: readonly ReadonlyMap<string, LosslessJson>[];
  before(async () => {
    orders = await Orders.start('small');
    for (const images of ['full', 'after'])
      await orders.stream('stream-flink', images, { replacements: { '"full"': `"${images}"` } });
    registry = orders.servers.use(await Apicurio.start());
    await orders.stream('stream-flink-avro', 'avro', { registry });
    using load = orders.load({ ops: 20_000, rate: 4_000, keys: 700, fill: 500 });
    await orders.stepDown();
    await load.finished();
    const { dump } = await orders.shipped(['full', 'after', 'avro']);
    rows = dump.map((line) => parseLossless(line) as Map<string, LosslessJson>);
  });
  after(() => orders[Symbol.asyncDispose]());

  async function flink(stream: string, block = 'flink-table'): Promise<readonly FlinkChange[]> {
    const table = snippet(block, {
      'cdc.shop.orders': `${stream}.${ORDERS}`,
      'kafka:9092': orders.brokers,
      ...(block === 'flink-avro-table' && { [REGISTRY]: registry.url }),
    });
    // What is there now, instead of whatever comes.
    const bounded = `FROM orders /*+ OPTIONS('scan.bounded.mode' = 'latest-offset') */`;
    return runFlinkSql([table, snippet('flink-query', { 'FROM orders': bounded })]);
  }

  const numbers = (column: string): readonly number[] =>
    rows.flatMap((row) => (row.get(column) === null ? [] : Number(row.get(column))));
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);

  for (const [stream, block] of [
    ['full', 'flink-table'],
    ['avro', 'flink-avro-table'],
  ] as const)
    it(`Flink SQL counts and adds up by retraction what Kudu has, in ${stream === 'avro' ? 'Avro' : 'JSON'}`, async () => {
      const last = (await flink(stream, block)).findLast(({ kind }) => kind === '+I' || kind === '+U');
      const amounts = numbers('amount');
      const cents = sum(numbers('price').map((price) => Math.round(price * 100)));
      assert.deepEqual(last?.values, [
        String(rows.length),
        String(amounts.length),
        String(sum(amounts)),
        `${Math.trunc(cents / 100)}.${String(Math.abs(cents % 100)).padStart(2, '0')}`,
        String(sum(numbers('state'))),
      ]);
    });

  it('Flink SQL stops at an update without the row of before', async () => {
    await assert.rejects(flink('after'), /REPLICA IDENTITY/);
  });

  it('kcat shows keys, values and headers', async () => {
    const { progress } = await artifactOptions();
    if ((await runCommand('sh', ['-c', 'command -v kcat'])).exitCode !== 0) await installPackages(['kcat'], progress);
    const command = snippet('kcat', { 'kafka:9092': orders.brokers, 'cdc.': 'full.' });
    const { exitCode, stdout, output } = await runCommand('sh', ['-c', command]);
    assert.equal(exitCode, 0, output);
    const lines = stdout.trimEnd().split('\n');
    await using reader = await TopicReader.start({
      brokers: orders.cluster.kafka.brokers,
      topics: [`full.${ORDERS}`],
      onRecord: () => undefined,
    });
    await reader.settle(() => reader.count >= lines.length, { timeoutMs: 60_000 });
    assert.equal(lines.length, reader.count);
    assert.match(lines[0]!, /^\{"id":\d+\} \{.*"after":\{.*\} spoor\.pos=/);
  });
});
