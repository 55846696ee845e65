import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { runCommand } from '../../src/demo/run-command.ts';
import { installPackages } from '../../src/demo/system-packages.ts';
import { artifactOptions, serversMissing } from '../support/cluster.ts';
import { snippet } from '../support/consumers/doc-snippets.ts';
import { runFlinkSql, type FlinkChange } from '../support/consumers/flink.ts';
import { javaTool } from '../support/java-tools.ts';
import { USUAL_FLAGS } from '../support/leased-cluster.ts';
import { Load } from '../support/load.ts';
import { parseLossless, type LosslessJson } from '../support/lossless-json.ts';
import { ReplicaWatch } from '../support/replica-watch.ts';
import { TopicReader } from '../support/topic-reader.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

const TABLE = 'shop.orders';

/** Readers of bare JSON, as docs/consumers.md says, of a table under mixed operations and changes of leaders. */
describe('readers of bare JSON', { skip: await serversMissing(), timeout: 600_000 }, () => {
  let cluster: SpoorCluster;
  let rows: readonly ReadonlyMap<string, LosslessJson>[];
  before(async () => {
    cluster = await SpoorCluster.start({ flags: USUAL_FLAGS });
    await javaTool('create-table', { masters: cluster.masters, table: TABLE, shape: 'small', buckets: 3 });
    for (const [stream, images] of [
      ['full', '"full"'],
      ['after', '"after"'],
    ] as const)
      await create(stream, { '"full"': images });
    using watch = await ReplicaWatch.open(cluster);
    using load = Load.start(cluster, TABLE, { ops: 20_000, rate: 4_000, keys: 700, fill: 500 });
    for (const tabletId of await watch.tabletIds(TABLE)) await watch.stepDown(tabletId);
    await load.finished();
    for (const stream of ['full', 'after']) await cluster.waitForTablets(stream, isCaughtUp);
    rows = (await cluster.dump(TABLE)).map((line) => parseLossless(line) as Map<string, LosslessJson>);
  });
  after(async () => cluster[Symbol.asyncDispose]());

  async function create(stream: string, replacements: Readonly<Record<string, string>>): Promise<void> {
    const text = snippet('stream-flink', {
      '"name": "orders"': `"name": "${stream}"`,
      'cdc.': `${stream}.`,
      ...replacements,
    });
    const { status, body } = await cluster.api('POST', '/v1/streams', JSON.parse(text));
    assert.equal(status, 201, JSON.stringify(body));
    await cluster.waitForTablets(stream, ({ state }) => state === 'running');
  }

  async function flink(stream: string): Promise<readonly FlinkChange[]> {
    const table = snippet('flink-table', {
      'cdc.shop.orders': `${stream}.${TABLE}`,
      'kafka:9092': cluster.kafka.brokers.join(','),
    });
    // What is there now, instead of whatever comes.
    const bounded = `FROM orders /*+ OPTIONS('scan.bounded.mode' = 'latest-offset') */`;
    return runFlinkSql([table, snippet('flink-query', { 'FROM orders': bounded })]);
  }

  const numbers = (column: string): readonly number[] =>
    rows.flatMap((row) => (row.get(column) === null ? [] : Number(row.get(column))));
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);

  it('Flink SQL counts and adds up by retraction what Kudu has', async () => {
    const last = (await flink('full')).findLast(({ kind }) => kind === '+I' || kind === '+U');
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
    const command = snippet('kcat', { 'kafka:9092': cluster.kafka.brokers.join(','), 'cdc.': 'full.' });
    const { exitCode, stdout, output } = await runCommand('sh', ['-c', command]);
    assert.equal(exitCode, 0, output);
    const lines = stdout.trimEnd().split('\n');
    await using reader = await TopicReader.start({
      brokers: cluster.kafka.brokers,
      topics: [`full.${TABLE}`],
      onRecord: () => undefined,
    });
    await reader.settle(() => reader.count >= lines.length, { timeoutMs: 60_000 });
    assert.equal(lines.length, reader.count);
    assert.match(lines[0]!, /^\{"id":\d+\} \{.*"after":\{.*\} spoor\.pos=/);
  });
});
