import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { dumpWal } from '../../src/cli/wal-dump.ts';
import { serversMissing, startKudu } from '../support/cluster.ts';
import { javaTool, writeMixed } from '../support/java-tools.ts';
import { readKuduDump } from '../support/kudu-wal-dump.ts';

/** That streams of such servers arrive is shown by the suites of test/groups, whose servers encrypt their logs. */
describe('a tablet server that encrypts its data', { skip: await serversMissing(), timeout: 180_000 }, () => {
  for (const bits of [128, 192, 256])
    it(`with AES-${bits} has in its logs, to us, what Kudu's own tool reads in them, open segments and closed ones`, async () => {
      const flags = ['--encrypt_data_at_rest', `--encryption_key_length=${bits}`];
      await using kudu = await startKudu({
        tservers: 1,
        flags: [...flags, '--log_segment_size_mb=1', '--enable_log_gc=false', '--log_compression_codec=no_compression'],
        masterFlags: flags,
      });
      const table = { masters: kudu.masters, table: 'secret.rows' };
      await javaTool('create-table', { ...table, shape: 'small', buckets: 2, replicas: 1 });
      await writeMixed({ ...table, ops: 40_000, keys: 5_000 });
      const { walDir } = kudu.tservers[0]!;
      const ends: string[] = [];
      for (const tablet of await readdir(join(walDir, 'wals')))
        for (const name of (await readdir(join(walDir, 'wals', tablet))).filter((each) => each.startsWith('wal-'))) {
          const path = join(walDir, 'wals', tablet, name);
          const lines: { kind: string; op_id?: string; end?: string }[] = [];
          await dumpWal(path, (line) => lines.push(JSON.parse(line) as (typeof lines)[number]));
          const ours = lines.flatMap(({ kind, op_id: opId }) => (opId === undefined ? [] : `${kind} ${opId}`));
          const { exitCode, output } = await kudu.kuduCli([
            ...['wal', 'dump', path, '--print_entries=pb', '--truncate_data=0'],
            ...['--encrypt_data_at_rest', `--instance_file=${join(walDir, 'instance')}`],
          ]);
          assert.equal(exitCode, 0, output);
          const theirs = readKuduDump(output).map(({ kind, opId }) => `${kind} ${opId}`);
          assert.deepEqual(ours, theirs, path);
          ends.push(lines.at(-1)!.end!);
        }
      assert.ok(ends.filter((end) => end === 'closed').length >= 2, ends.join());
      assert.ok(ends.filter((end) => end === 'zeros').length >= 2, ends.join());
    });
});
