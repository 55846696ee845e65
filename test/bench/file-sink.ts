import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RecordBatch } from '../../src/change/record-batch.ts';
import { FileSink } from '../../src/sinks/file/file-sink.ts';
import { asAvroText, textSchemas } from '../support/avro-batches.ts';
import { positionAt, recordAt, tabletOf } from '../contract/sink-records.ts';

/* The file sink by itself: node --import tsx test/bench/file-sink.ts [folder [lines|avro]]. Rows of 400 bytes, 20,000 in a write. */

const BATCH = 2_000;
const BATCHES_A_WRITE = 10;
const WRITES = 50;

const value = Buffer.from(`{"op":"u","after":{"id":1,"note":"${'x'.repeat(360)}"}}`);
const container = process.argv[3] === 'avro' ? 'avro' : 'lines';
const schemas = textSchemas(0);
const records = Array.from({ length: BATCH }, (_, row) => recordAt(1, row, { value }));
const batch = RecordBatch.of(container === 'avro' ? records.map((record) => asAvroText(record, schemas)) : records);
const dir = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'spoor-bench-files-'));
const signal = new AbortController().signal;
try {
  const sink = new FileSink({ dir, rotateBytes: 128 << 20, rotateSeconds: 60 }, 'bench', container);
  await using writer = await sink.openTablet(tabletOf('bench'), signal);
  const [startMs, startCpu] = [performance.now(), process.cpuUsage()];
  for (let write = 1; write <= WRITES; write++)
    await writer.write(Array<RecordBatch>(BATCHES_A_WRITE).fill(batch), positionAt(write), signal);
  const rows = WRITES * BATCHES_A_WRITE * BATCH;
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(startCpu);
  const cpu = ((user + system) / rows).toFixed(2);
  process.stdout.write(`${rows} rows, ${Math.round(rows / seconds)} rows/s, ${cpu} s of CPU a million rows\n`);
} finally {
  await rm(dir, { recursive: true });
}
