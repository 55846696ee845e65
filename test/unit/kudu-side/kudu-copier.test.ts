import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { encodedKey } from '../../../src/change/copied-rows.ts';
import { KuduCopier, type KuduCopierOptions } from '../../../src/kudu-side/kudu-copier.ts';
import { encodeKey } from '../../../src/kudu/key-encoder.ts';
import type { Predicate } from '../../../src/kudu/predicate.ts';
import { RowBlock } from '../../../src/kudu/row-block.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import type { LocalTablet } from '../../../src/kudu/tserver-proxy.ts';
import { keepingLogger } from '../../support/loggers.ts';
import { column, int32, int64 } from '../../support/row-bytes.ts';

const SCHEMA: TableSchema = {
  columns: [
    column('k', DataType.INT64, { isKey: true, id: 10 }),
    column('a', DataType.INT32, { nullable: false, id: 11 }),
  ],
};
const TABLET = { tableId: 'table', tabletId: 'tablet' };
const SCAN = { at: 1n, schema: SCHEMA, schemaVersion: 0 };
const { signal } = new AbortController();
const keyOf = (k: number): Buffer => encodeKey([SCHEMA.columns[0]!], { k: BigInt(k) });

/** A tablet server with the rows 0, 2, 4, ...; each listing of its schemas counts. */
class CountingServer {
  listings = 0;
  scans = 0;
  /** Of the schema, by listing; the last one stays. */
  versions = [0];

  copier(): KuduCopier {
    const listTablets = async (): Promise<LocalTablet[]> => {
      this.listings++;
      const schemaVersion = this.versions.length > 1 ? this.versions.shift()! : this.versions[0]!;
      await turn();
      return [{ tabletId: 'tablet', tableName: 't', role: 'leader', schema: SCHEMA, schemaVersion } as LocalTablet];
    };
    const client = {
      tabletServer: () => ({ listTablets }),
      openTable: () =>
        Promise.resolve({ scanTablet: (_: string, __: unknown, options: object) => this.#scan(options) }),
    } as unknown as KuduCopierOptions['client'];
    const tserver = { address: 'node-1:7050', uuid: 'u' };
    return new KuduCopier({ client, tserver, keeperOf: () => undefined, logger: keepingLogger() });
  }

  async *#scan(options: { startKey?: Buffer; stopKey?: Buffer; limit?: number; predicates?: readonly Predicate[] }) {
    const { startKey, stopKey, predicates } = options;
    const limit = options.limit ?? (predicates ? Infinity : 3);
    this.scans++;
    const keys = Array.from({ length: 1000 }, (_, i) => i * 2);
    const values = (predicates ?? []).map(
      (p) => new Set('cells' in p ? p.cells.map((cell) => cell.readBigInt64LE()) : []),
    );
    const isWanted = (k: number): boolean =>
      (startKey === undefined || Buffer.compare(keyOf(k), startKey) >= 0) &&
      (stopKey === undefined || Buffer.compare(keyOf(k), stopKey.subarray(0, 8)) < 0) && // a bound is read as a key
      values.every((of) => of.has(BigInt(k)));
    const from = keys.filter(isWanted).slice(0, limit);
    await turn(); // not for each row: which way is taken goes by what it took, and other tests take their turns
    for (const k of from) yield new RowBlock(SCHEMA, 1, Buffer.concat([int64(BigInt(k)), int32(7)]), Buffer.alloc(0));
  }
}

async function readKeys(copier: KuduCopier, wanted: readonly number[]): Promise<(number | null)[]> {
  const found: (number | null)[] = [];
  for await (const { key, found: at } of copier.rows(TABLET, SCAN, wanted.map(keyOf), signal)) {
    assert.deepEqual(key, keyOf(wanted[found.length]!), 'in the order in which they are named');
    if (at) assert.deepEqual(encodedKey(SCHEMA, at.block, at.places, at.row), key);
    found.push(at && wanted[found.length]!);
  }
  return found;
}

describe('the copier of Kudu tables', () => {
  it('asks a server for all of its schemas twice for some hundred rows, not twice for each', async () => {
    const wanted = Array.from({ length: 500 }, (_, i) => i);
    const counts: string[] = [];
    // Where a scan had to wait for the processor by chance, the next rows are rightly read one by one.
    for (let tries = 0; tries < 5 && counts.at(-1) !== '2 scans, 4 listings'; tries++) {
      const server = new CountingServer();
      const found = await readKeys(server.copier(), wanted);
      assert.deepEqual(
        found,
        wanted.map((k) => (k % 2 === 0 ? k : null)),
      );
      counts.push(`${server.scans} scans, ${server.listings} listings`);
    }
    assert.equal(counts.at(-1), '2 scans, 4 listings', `many rows by one scan: ${counts.join('; ')}`);
  });

  it('finds the last of the rows that are asked for, however many they are', async () => {
    for (const count of [1, 7, 8, 9, 300]) {
      const wanted = Array.from({ length: count }, (_, i) => i * 2);
      assert.deepEqual(await readKeys(new CountingServer().copier(), wanted), wanted, `${count} rows`);
    }
  });

  it('reads rows again whose columns may have been taken for others while they were read', async () => {
    const server = new CountingServer();
    server.versions = [0, 1, 1, 1]; // an ALTER during the first try
    assert.deepEqual(await readKeys(server.copier(), [1, 2]), [null, 2]);
    assert.deepEqual([server.scans, server.listings], [4, 4]);
  });

  it('shares one answer among the copies that ask while another is on its way', async () => {
    const server = new CountingServer();
    const copier = server.copier();
    const copyAll = async (): Promise<number> => {
      let rows = 0;
      for await (const { block } of copier.scan(TABLET, SCAN, signal)) rows += block.rowCount;
      return rows;
    };
    assert.deepEqual(await Promise.all(Array.from({ length: 50 }, copyAll)), new Array(50).fill(3));
    assert.equal(server.scans, 50);
    assert.ok(server.listings <= 5, `${server.listings} listings for 100 looks`);
  });
});
