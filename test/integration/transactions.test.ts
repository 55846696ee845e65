import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SpoorError } from '../../src/errors.ts';
import { KuduClient } from '../../src/kudu/client.ts';
import { WalWatcher } from '../../src/wal/wal-watcher.ts';
import { serversMissing, startKudu } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { javaTool } from '../support/java-tools.ts';
import { fromTheStart, ReplicaTail } from '../support/replica-tail.ts';

const TRANSACTIONS = '--enable_txn_system_client_init';

describe('a tablet with a multi-row transaction', { skip: await serversMissing(), timeout: 180_000 }, () => {
  for (const end of ['commit', 'rollback'])
    it(`is shipped up to it and no further, when it ends with a ${end} (traps 26, 27)`, async () => {
      await using cluster = await startKudu({
        tservers: 1,
        flags: [TRANSACTIONS],
        masterFlags: [
          TRANSACTIONS,
          '--txn_manager_enabled',
          '--txn_manager_lazily_initialized',
          '--txn_manager_status_table_num_replicas=1',
        ],
      });
      using client = await KuduClient.connect({ masters: cluster.masters });
      const table = { masters: cluster.masters, table: 'txn.rows' };
      await javaTool('create-table', { ...table, shape: 'small', buckets: 1, replicas: 1 });
      const opened = await client.openTable({ name: 'txn.rows' });
      for (const id of [1, 2]) await opened.insert({ id });
      await eventually('the transaction is made', async () =>
        javaTool('write-transaction', { ...table, first: 10, end }),
      );
      // The lock on the tablet goes a moment after the transaction ended.
      await eventually('a later row is written', async () => opened.insert({ id: 3 }));

      const [tablet] = await client.getTableLocations({ name: 'txn.rows' });
      const { tableId } = opened.description;
      using watcher = new WalWatcher({ walDir: cluster.tservers[0]!.walDir });
      const keys: string[] = [];
      await using tail = new ReplicaTail({
        watcher,
        tablet: { tableId, tabletId: tablet!.tabletId },
        after: fromTheStart('txn.rows'),
        onRecord: ({ kind, key }) => {
          if (kind === 'row') keys.push(key.toString());
        },
      });
      await eventually('reading ends', () => tail.failure !== null);
      assert.ok(tail.failure instanceof SpoorError, String(tail.failure));
      assert.equal(tail.failure.code, 'SPOOR_TRANSACTION_UNSUPPORTED');
      assert.deepEqual(keys, ['{"id":1}', '{"id":2}']);

      // A stream that begins while it is open, behind its first operations: the rest of it, its end, is met all the same.
      for (const inside of [1n, 2n]) {
        const seen: string[] = [];
        const opId = { term: tail.upTo.term, index: tail.upTo.index + inside };
        await using late = new ReplicaTail({
          watcher,
          tablet: { tableId, tabletId: tablet!.tabletId },
          after: { ...fromTheStart('txn.rows'), opId },
          onRecord: ({ kind, key }) => {
            if (kind === 'row') seen.push(key.toString());
          },
        });
        await eventually('reading ends', () => late.failure !== null);
        assert.ok(late.failure instanceof SpoorError, String(late.failure));
        assert.equal(late.failure.code, 'SPOOR_TRANSACTION_UNSUPPORTED');
        assert.deepEqual(seen, [], 'neither its rows nor what is behind it');
      }
    });
});
