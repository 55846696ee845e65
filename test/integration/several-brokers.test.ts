import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import { serversMissing, startKafka } from '../support/cluster.ts';
import { form } from '../support/forms.ts';
import { javaTool } from '../support/java-tools.ts';
import { USUAL_FLAGS } from '../support/leased-cluster.ts';
import { Load } from '../support/load.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';

/** Ids of the brokers that are hurt; the first, which is the controller and leads Kafka's own topics, is not. */
const [LEFT, RIGHT] = [2, 3] as const;
const KILLS = form(3, 30);
const FROZEN_MS = form(15_000, 120_000);
/** Longer than the controller waits for a broker: its partitions have no leader then, and their markers are lost. */
const DOWN_MS = 3_500;

/**
 * Topics with one replica, on two brokers of three. It alone shows on real brokers what docs/sinks.md says of markers that
 * Kafka loses, and docs/architecture.md (I11) of sinks that are sick for one stream.
 */
describe('several brokers', { skip: await serversMissing(), timeout: 900_000 }, () => {
  let cluster: SpoorCluster;
  const brokers = new Map<number, KafkaServer>();
  before(async () => {
    cluster = await SpoorCluster.start({ tservers: 2, flags: USUAL_FLAGS, env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1' } });
    // Kafka's own topics are made while there is no other broker.
    await begin('warm', () => 1);
    await cluster.waitForTablets('warm', isCaughtUp);
    for (const nodeId of [LEFT, RIGHT])
      brokers.set(nodeId, await startKafka({ joins: { first: cluster.kafka, nodeId } }));
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
    for (const broker of brokers.values()) await broker[Symbol.asyncDispose]();
  });

  /** A table and an exactly-once stream of it, into partitions each of which is at one broker. */
  async function begin(name: string, brokerOf: (partition: number) => number): Promise<void> {
    const table = `sb.${name}`;
    await javaTool('create-table', { masters: cluster.masters, table, shape: 'small', replicas: 1 });
    await cluster.kafka.withAdmin((admin) =>
      admin.createTopics({
        waitForLeaders: false, // a broker knows of a topic a moment later than the controller
        topics: [
          { topic: name, partitions: 4 },
          { topic: `${name}.schema`, partitions: 1 },
        ].map(({ topic, partitions }) => ({
          topic,
          replicaAssignment: Array.from({ length: partitions }, (_, partition) => ({
            partition,
            replicas: [brokerOf(partition)],
          })),
        })),
      }),
    );
    await cluster.createStream(name, [table], { sink: { partitions: 4 } });
    await cluster.waitForTablets(name, ({ state }) => state === 'running');
  }

  it('harm only the streams whose broker is frozen', async (t) => {
    await begin('sick', () => LEFT);
    await begin('sound', () => RIGHT);
    using toSick = Load.start(cluster, 'sb.sick', { rate: 500, threads: 2, flush: 10 });
    using toSound = Load.start(cluster, 'sb.sound', { rate: 500, threads: 2, flush: 10 });
    await sleep(3000);
    await brokers.get(LEFT)!.freeze();
    const until = performance.now() + FROZEN_MS;
    let worst = 0;
    try {
      while (performance.now() < until) {
        for (const { lagSeconds } of await cluster.tablets('sound')) worst = Math.max(worst, lagSeconds ?? 0);
        await sleep(200);
      }
      assert.ok(
        (await cluster.tablets('sick')).some(({ lagOps }) => (lagOps ?? 1) > 0),
        'nothing goes to the frozen one',
      );
    } finally {
      brokers.get(LEFT)!.thaw();
    }
    t.diagnostic(`the sound stream was at most ${worst} s behind`);
    for (const [name, load] of [
      ['sick', toSick],
      ['sound', toSound],
    ] as const) {
      const { applied } = await load.stop();
      await cluster.waitForTablets(name, isCaughtUp);
      await cluster.assertFoldIsTable(name, `sb.${name}`, applied);
    }
    assert.ok(worst < 10, `${worst} s`);
  });

  it('lose and repeat nothing where they are killed right after commits, one after the other', async (t) => {
    const halves = (partition: number): number => (partition % 2 === 0 ? LEFT : RIGHT);
    // The positions too: their markers are lost as well then.
    await cluster.kafka.withAdmin((admin) =>
      admin.alterPartitionReassignments({
        topics: [
          {
            topic: 'spoor.positions',
            partitionAssignment: Array.from({ length: 16 }, (_, partition) => ({
              partition,
              replicas: [halves(partition)],
            })),
          },
        ],
      }),
    );
    await begin('killed', halves);
    using load = Load.start(cluster, 'sb.killed', { rate: 800, threads: 4, flush: 10 });
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(2000 + 137 * (kill % 7));
      const broker = brokers.get(halves(kill))!;
      await broker.kill();
      await sleep(DOWN_MS);
      await broker.restart();
      await cluster.waitForTablets('killed', ({ state, lagSeconds }) => state === 'running' && (lagSeconds ?? 9) < 1);
    }
    const { applied } = await load.stop();
    await cluster.waitForTablets('killed', isCaughtUp);
    await cluster.assertFoldIsTable('killed', 'sb.killed', applied);
    const logs = await Promise.all(cluster.sidecars.map(async ({ logFile }) => readFile(logFile, 'utf8')));
    const ended = logs.join('').match(/ended once more/g)?.length ?? 0;
    t.diagnostic(`${applied} rows, ${KILLS} kills, ${ended} times a transaction was left open and ended once more`);
  });
});
