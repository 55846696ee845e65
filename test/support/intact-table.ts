import assert from 'node:assert/strict';
import type { KuduCluster } from '../../src/demo/kudu-servers.ts';
import { eventually } from './eventually.ts';

/** Of three replicas. */
const REPLICAS = 3;
/** The last word of a report; the program may log behind it. */
const OK_AT_THE_END = /\nOK\s*(?:\n[IWE]\d{8} [^\n]*\s*)*$/;

/**
 * That `kudu cluster ksck` finds nothing wrong with a table, and that all replicas of a tablet have the same rows.
 * @returns the report
 */
export async function assertIntact(kudu: KuduCluster, table: string, tablets: number): Promise<string> {
  const ksck = ['cluster', 'ksck', kudu.masters.join(','), '--checksum_scan', `--tables=${table}`];
  const report = await eventually('all replicas have the same rows', async () => {
    const { exitCode, output } = await kudu.kuduCli(ksck);
    return exitCode === 0 && output;
  });
  const checksums = [...report.matchAll(/Checksum: (\d+)/g)].map(([, sum]) => sum);
  assert.equal(checksums.length, REPLICAS * tablets, report);
  assert.equal(new Set(checksums).size, tablets, report);
  assert.match(report, OK_AT_THE_END);
  return report;
}
