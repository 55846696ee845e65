import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Steps } from '../../src/sinks/file/disk.ts';
import { partsOf } from '../../src/sinks/file/file-parts.ts';
import { avroRecordsOf } from '../../src/sinks/file/file-records.ts';
import { never, type SeenRecord } from '../contract/sink-records.ts';
import { fromAvroText } from './avro-batches.ts';

/** Rows of `shop.orders` that texts were written of, of every tablet of every creation of a stream. */
export async function avroRecordsOfStream(dir: string, streamName: string): Promise<readonly SeenRecord[]> {
  const stream = join(dir, streamName);
  const seen: SeenRecord[] = [];
  const steps = new Steps(never);
  for (const creation of readdirSync(stream))
    for (const tablet of readdirSync(join(stream, creation)).filter((name) => name !== 'tables'))
      for (const part of await partsOf(join(stream, creation, tablet), tablet, steps))
        for await (const records of avroRecordsOf(part, steps))
          for (const { kind, table, record } of records) {
            if (kind !== '' || table !== 'shop.orders') continue;
            const { key, value, position, timestampMs } = record;
            seen.push({
              key: fromAvroText(key!),
              value: value && fromAvroText(value),
              position: position!,
              timestampMs: timestampMs!,
            });
          }
  return seen;
}
