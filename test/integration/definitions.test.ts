import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel, type Admin } from 'kafkajs';
import type { PutStream, StreamPlan, StreamView } from '../../src/api/shapes.ts';
import { serversMissing } from '../support/cluster.ts';
import { javaTool } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';
import { recordsIn } from '../support/topic-reader.ts';

/** Small segments and eager log GC: what is not held is soon gone. */
const FLAGS = ['--log_segment_size_mb=1', '--flush_threshold_secs=4', '--log_min_segments_to_retain=1'];

describe('a stream as it is defined', { skip: await serversMissing(), timeout: 300_000 }, () => {
  let cluster: SpoorCluster;
  let admin: Admin;
  before(async () => {
    cluster = await SpoorCluster.start({
      tservers: 1,
      flags: FLAGS,
      env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1', SPOOR_NICE: '0' },
    });
    admin = new Kafka({ brokers: [...cluster.kafka.brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    await javaTool('create-table', { masters: cluster.masters, table: 'defined.t', shape: 'small', replicas: 1 });
  });
  after(async () => {
    await admin.disconnect();
    await cluster[Symbol.asyncDispose]();
  });

  const definition = (name: string, sink: object = {}) => ({
    name,
    tables: ['defined.*'],
    start: 'now',
    images: 'changed',
    sink: { type: 'kafka', topic: name, partitions: 3, replicationFactor: 1, schemaTopic: `${name}.schema`, ...sink },
  });
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as SpoorCluster.api has it
  const call = async <T>(method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const response = await fetch(cluster.sidecars[0]!.url + path, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, etag: response.headers.get('etag') ?? '', body: (await response.json()) as T };
  };
  const stateOf = ({ topics }: StreamPlan, name: string) => topics.find((topic) => topic.name === name);

  it('is planned: what Kafka would make, takes as it is, or refuses; and nothing is made', async () => {
    const settings = { 'retention.ms': '86400000' };
    const ask = async (sink: object): Promise<StreamPlan> => {
      const asked = definition('planned', sink);
      const { status, body } = await call<StreamPlan>('POST', '/v1/streams?dryRun=true', asked);
      assert.equal(status, 200, JSON.stringify(body));
      return body;
    };
    const plan = await ask({ topicConfig: settings });
    assert.deepEqual(stateOf(plan, 'planned'), {
      name: 'planned',
      of: 'rows',
      state: 'made',
      partitions: 3,
      replicationFactor: 1,
      settings,
      differences: [],
    });
    assert.equal(stateOf(plan, 'planned.schema')?.state, 'made');
    assert.deepEqual([plan.missing, plan.tables[0]?.begins], [[], 'now']);
    const { missing } = await ask({ replicationFactor: 3 });
    assert.match(missing[0]!, /to make topic planned: INVALID_REPLICATION_FACTOR/);
    const waits = await ask({ createTopics: false });
    assert.match(waits.missing[0]!, /topic planned does not exist and the stream may not make it/);

    await admin.createTopics({ topics: [{ topic: 'there', numPartitions: 2, replicationFactor: 1 }] });
    const other = await ask({ topic: 'there', topicConfig: settings });
    const there = stateOf(other, 'there');
    assert.deepEqual([there?.state, there?.partitions], ['there', 2]);
    assert.deepEqual(there?.differences, [
      'it has 2 partitions, 3 are asked for',
      'retention.ms is 604800000, 86400000 is asked for',
    ]);
    const topics = await admin.listTopics();
    assert.deepEqual(
      topics.filter((topic) => topic.startsWith('planned')),
      [],
    );
    assert.deepEqual((await call<StreamView[]>('GET', '/v1/streams')).body, []);
  });

  it('is not made with settings that Kafka refuses, and says so in its words', async () => {
    for (const [method, path] of [
      ['POST', '/v1/streams'],
      ['PUT', '/v1/streams/refused'],
      ['POST', '/v1/streams?dryRun=true'],
    ] as const)
      for (const [setting, value, says] of [
        ['retention.msec', '1', /retention\.msec/],
        ['retention.ms', 'soon', /retention\.ms/],
      ] as const) {
        const asked = definition('refused', { topicConfig: { [setting]: value } });
        const { status, body } = await call<{ errors: { path: string; message: string }[] }>(method, path, asked);
        assert.deepEqual([status, body.errors.map((error) => error.path)], [400, ['sink.topicConfig']]);
        assert.match(body.errors[0]!.message, says);
      }
    assert.equal((await call('GET', '/v1/streams/refused')).status, 404);
  });

  it('ships nothing while it is made paused, and all from then on, although the tablet server lets its log go', async () => {
    const sink = { compression: 'gzip', topicConfig: { 'retention.ms': '86400000' } };
    const asked = definition('late', sink);
    const made = await call<PutStream>('PUT', '/v1/streams/late', { ...asked, paused: true });
    assert.deepEqual([made.status, made.body.outcome, made.body.paused], [201, 'created', true]);
    using load = Load.start(cluster, 'defined.t', { ops: 20_000, keys: 20_000 });
    const { applied } = await load.finished();
    await sleep(8_000); // rows are flushed, and log GC has come by
    await cluster.waitForTablets('late', ({ state }) => state === 'paused');
    assert.ok(!(await admin.listTopics()).includes('late'));
    const again = await call<PutStream>('PUT', '/v1/streams/late', { ...asked, paused: true });
    assert.deepEqual([again.status, again.body.outcome, again.etag], [200, 'unchanged', made.etag]);
    const resumed = await call<PutStream>('PUT', '/v1/streams/late', asked);
    assert.deepEqual([resumed.status, resumed.body.outcome], [200, 'changed']);
    await cluster.waitForTablets('late', isCaughtUp);
    await cluster.assertFoldIsTable('late', 'defined.t', applied);
    const plan = await call<StreamPlan>('PUT', '/v1/streams/late?dryRun=true', asked);
    const { state, settings, differences } = stateOf(plan.body, 'late')!;
    assert.deepEqual([plan.body.outcome, state, settings, differences], ['unchanged', 'there', sink.topicConfig, []]);
    assert.equal(plan.body.tables[0]?.begins, 'goes-on');
  });

  it('is planned with its first record, which comes so when it is made', async () => {
    const asked = { ...definition('copied'), start: 'snapshot', images: 'after' };
    const { example } = (await call<StreamPlan>('POST', '/v1/streams?dryRun=true', asked)).body;
    assert.equal(example?.isMadeUp, false);
    assert.equal((await call('POST', '/v1/streams', asked)).status, 201);
    await cluster.waitForTablets('copied', isCaughtUp);
    const records = await recordsIn(cluster.kafka, 'copied', 1);
    const came = records.find(({ key }) => key?.toString() === example.key)!.value!.toString();
    const steady = (value: string): string =>
      value.replace(/"(?:ts_[mun]s|lsn|term|index|hybrid_time|sequence)":("[^]*?[^\\]"|\d+),/g, '');
    assert.equal(steady(example.value), steady(came));
  });

  it('keeps all of two changes at once, and none by a tag that is old', async () => {
    const before = await call<StreamView>('GET', '/v1/streams/late');
    const changes = Array.from({ length: 6 }, (_, i) =>
      call('PATCH', '/v1/streams/late', { tables: { add: [`extra.${i}`] } }),
    );
    for (const { status } of await Promise.all(changes)) assert.equal(status, 200);
    const { body, etag } = await call<StreamView>('GET', '/v1/streams/late');
    assert.equal(body.tables.length, 7, body.tables.join());
    const stale = await call('PUT', '/v1/streams/late', definition('late'), { 'if-match': before.etag });
    assert.deepEqual([stale.status, stale.etag], [412, etag]);
    const fresh = await Promise.all(
      [1, 2].map((copyRowsPerSecond) => call('PATCH', '/v1/streams/late', { copyRowsPerSecond }, { 'if-match': etag })),
    );
    assert.deepEqual(fresh.map(({ status }) => status).sort(), [200, 412], 'of two by one tag one is first');
  });
});
