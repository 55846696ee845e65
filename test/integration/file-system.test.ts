import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KuduClient } from '../../src/kudu/client.ts';
import type { TableSchema } from '../../src/kudu/schema.ts';
import type { NewestRecords, TraceView } from '../../src/api/shapes.ts';
import { errorCodeOf } from '../../src/util/error-code.ts';
import { differencesFromKudu } from '../support/consumers/kudu-rows.ts';
import { FASTAVRO, runPython } from '../support/consumers/python.ts';
import { eventually } from '../support/eventually.ts';
import { TableFold } from '../support/fold.ts';
import { form } from '../support/forms.ts';
import { javaTool } from '../support/java-tools.ts';
import { Load } from '../support/load.ts';
import { moveLeaders } from '../support/main-job.ts';
import { mountSmall, unmount } from '../support/small-disk.ts';
import { isCaughtUp, SpoorCluster } from '../support/spoor-cluster.ts';
import { recordsOfStream } from '../support/spoor-files.ts';

/** Null: until all that is to go wrong has. */
const OPS = form<number | null>(null, 300_000);
const RATE = form(1_000, 5_000);
const DISK_MIB = form(96, 768);
const MIB = 1 << 20;
const TABLE = 'shop.filed';
const STREAMS = ['filed', 'in-avro'];
const PRINT_ROWS = readFileSync(new URL('../support/consumers/print-rows.py', import.meta.url), 'utf8');

describe('streams into files, with real Kudu', () => {
  let cluster: SpoorCluster;
  let dir: string;
  let whyNoMount: string | null;
  before(async () => {
    cluster = await SpoorCluster.start();
    dir = join(cluster.dir, 'cdc');
    await mkdir(dir);
    whyNoMount = mountSmall(dir, DISK_MIB);
  });
  after(async () => {
    if (whyNoMount === null) unmount(dir);
    await cluster[Symbol.asyncDispose]();
  });

  it('fold of the files equals the table: a sidecar killed, leaders moved, the disk full in the midst', async (t) => {
    await javaTool('create-table', { masters: cluster.masters, table: TABLE, shape: 'small' });
    const sink = { type: 'file', dir, rotateBytes: MIB, rotateSeconds: 2 };
    for (const [name, type] of [
      ['filed', 'json'],
      ['in-avro', 'avro'],
    ]) {
      const stream = { name, tables: [TABLE], start: 'now', sink, format: { type } };
      const { status, body } = await cluster.api('POST', '/v1/streams', stream);
      assert.equal(status, 201, JSON.stringify(body));
    }
    for (const name of STREAMS) await cluster.waitForTablets(name, ({ state }) => state === 'running');
    using load = Load.start(cluster, TABLE, { ...(OPS !== null && { ops: OPS }), rate: RATE, keys: 20_000 });
    await sleep(3000);
    if (whyNoMount === null) await fillAndFree(cluster, dir);
    else t.diagnostic(`the disk was not filled: ${whyNoMount}`);
    await cluster.sidecars[0]!.kill();
    await sleep(500);
    await cluster.sidecars[0]!.restart();
    await cluster.sidecars[0]!.waitUntilReady();
    const moved = await moveLeaders(cluster, TABLE);
    using client = await KuduClient.connect({ masters: cluster.kudu.masters, timeoutMs: 60_000 });
    const add = { name: 'added', type: 'STRING', nullable: true } as const;
    await client.alterTable({ name: TABLE }, { steps: [{ add }] }, { timeoutMs: 60_000 });
    await sleep(1000);
    const { applied } = await (OPS === null ? load.stop() : load.finished());
    for (const name of STREAMS) await cluster.waitForTablets(name, isCaughtUp, 120_000);

    const fold = new TableFold({ hasWholeImages: true });
    const lanes = new Map<string, number>();
    const records = recordsOfStream(dir, 'filed');
    for (const { kind, value } of records) if (kind === 'schema') fold.addSchema(Buffer.from(value!));
    for (const { kind, key, value, pos } of records) {
      if (kind !== undefined) continue;
      const tablet = pos.split('/', 1)[0]!;
      if (!lanes.has(tablet)) lanes.set(tablet, lanes.size);
      const bytes = value === null ? null : Buffer.from(value);
      fold.push({ key: Buffer.from(key), value: bytes, position: pos }, lanes.get(tablet));
    }
    assert.equal(fold.records, applied, 'a record for each row that took effect');
    fold.sweep();
    assert.deepEqual(fold.compare(await cluster.dump(TABLE)).differences, []);
    t.diagnostic(`${fold.records} records in ${lanes.size} tablets, ${moved} leaders moved`);
    const dump = await cluster.dump(TABLE);
    await assertReadByFastavro(dir, (await client.openTable({ name: TABLE })).description.schema, dump, applied);
    for (const name of STREAMS) {
      const { code, out, err } = await cluster.cli(['verify', name]);
      assert.equal(code, 0, out + err);
      assert.match(out, /\nmissing +0\nextra +0\ndifferent +0\n$/);
    }
    const { code, out, err } = await cluster.cli(['streams', 'records', 'in-avro', '--last', '3', '--json']);
    assert.equal(code, 0, out + err);
    assert.match(out, /shop\.filed/);
    assert.doesNotMatch(out, /isBase64/);
    for (const name of STREAMS) {
      const newest = await cluster.api<NewestRecords>('GET', `/v1/streams/${name}/records?last=3`);
      const { position, place } = newest.body.records.find(({ value }) => value !== null)!;
      await eventually(`the whole way of a record of ${name}`, async () => {
        const path = `/v1/streams/${name}/trace?position=${encodeURIComponent(position!)}`;
        const { steps } = (await cluster.api<TraceView>('GET', path)).body;
        assert.equal(steps[1]?.facts['file'], String(place['file']), JSON.stringify(steps));
        return steps.every(({ is }) => is === 'done');
      });
    }
  });
});

/** A reader that shares nothing with us, of published files alone: by the program of docs/sinks-file.md. */
async function assertReadByFastavro(
  dir: string,
  schema: TableSchema,
  dump: readonly string[],
  applied: number,
): Promise<void> {
  const stream = join(dir, 'in-avro');
  const folders = readdirSync(stream).flatMap((creation) =>
    readdirSync(join(stream, creation)).map((tablet) => join(stream, creation, tablet)),
  );
  await eventually(
    'all files are published',
    () => folders.every((folder) => journalsOf(folder).every((text) => !text.includes('"data":['))),
    20_000,
  );
  const program = fastavroProgram().replace('/data/cdc/orders', stream).replace('shop.orders', TABLE);
  const lines = await runPython(`${program}\n\nprint(count)\n${PRINT_ROWS}`, { packages: FASTAVRO });
  assert.equal(Number(lines[0]), applied, 'a record for each row that took effect');
  assert.deepEqual(differencesFromKudu(schema, lines.slice(1), dump), []);
}

/** One may be removed while it is looked for. */
function journalsOf(folder: string): readonly string[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.journal'));
  try {
    return names.map((name) => readFileSync(join(folder, name), 'utf8'));
  } catch (error) {
    if (errorCodeOf(error) !== 'ENOENT') throw error;
    return ['"data":['];
  }
}

function fastavroProgram(): string {
  const text = readFileSync(new URL('../../docs/sinks-file.md', import.meta.url), 'utf8');
  return /```python\n(import fastavro\n.*?)```/s.exec(text)![1]!;
}

/** Until tablets say so; they go on when there is room. */
async function fillAndFree(cluster: SpoorCluster, dir: string): Promise<void> {
  const filler = join(dir, 'filler');
  const { bavail, bsize } = statfsSync(dir);
  try {
    writeFileSync(filler, Buffer.alloc(bavail * bsize));
  } catch (error) {
    if (errorCodeOf(error) !== 'ENOSPC') throw error; // the sidecars have taken some of it meanwhile
  }
  await eventually(
    'a tablet is blocked by the full disk',
    async () =>
      (await cluster.tablets('filed')).some(
        ({ state, error }) => state === 'blocked' && error !== undefined && /no space is left/.test(error.message),
      ),
    20_000,
  );
  await rm(filler);
}
