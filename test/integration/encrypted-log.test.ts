import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TabletView } from '../../src/api/shapes.ts';
import { serversMissing } from '../support/cluster.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { SpoorCluster } from '../support/spoor-cluster.ts';

const ENCRYPTED = ['--encrypt_data_at_rest=true'];

describe('a tablet server that encrypts its data', { skip: await serversMissing(), timeout: 180_000 }, () => {
  it('has its tablets blocked with that reason, ships nothing of them, and is not disturbed', async () => {
    await using cluster = await SpoorCluster.start({
      tservers: 1,
      flags: ENCRYPTED,
      masterFlags: ENCRYPTED,
      env: { SPOOR_SYSTEM_TABLE_REPLICAS: '1' },
    });
    const table = { masters: cluster.masters, table: 'secret.rows' };
    await javaTool('create-table', { ...table, shape: 'small', buckets: 2, replicas: 1 });
    await cluster.createStream('secret', ['secret.rows']);
    const { applied } = await writeMixed({ ...table, ops: 500 });
    assert.ok(applied > 0);
    const tablets = await cluster.waitForTablets('secret', ({ state }) => state === 'blocked');
    assert.equal(tablets.length, 2);
    for (const { error } of tablets) {
      assert.equal(error?.code, 'SPOOR_WAL_ENCRYPTED');
      assert.match(error.message, /wal-\d+/);
      assert.ok(!Number.isNaN(Date.parse(error.since)));
    }
    // The sidecar itself is well, and a second write is taken as the first was.
    assert.equal((await cluster.api('GET', '/readyz')).status, 200);
    assert.ok((await writeMixed({ ...table, ops: 500, seed: 2 })).rows === 500);
    const positions = (views: readonly TabletView[]): unknown[] => views.map(({ applyOpId }) => applyOpId);
    assert.deepEqual(positions(await cluster.tablets('secret')), positions(tablets), 'it stands where it began');
    const topics = await cluster.kafka.withAdmin((admin) => admin.listTopics());
    if (topics.includes('secret')) {
      const offsets = await cluster.kafka.withAdmin((admin) => admin.fetchTopicOffsets('secret'));
      assert.ok(
        offsets.every(({ high }) => high === '0'),
        JSON.stringify(offsets),
      );
    }
    // It is no silent end: whoever asks for the stream is told, and it can be deleted.
    assert.equal((await cluster.api('DELETE', '/v1/streams/secret')).status, 204);
  });
});
