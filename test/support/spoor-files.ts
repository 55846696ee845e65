import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A record as it stands in a file. */
export interface FiledRecord {
  readonly kind?: string;
  readonly table: string;
  /** As they stand there, byte for byte. */
  readonly key: string;
  readonly value: string | null;
  readonly pos: string;
  readonly ts: number;
}

const RECORD = /^\{(?:"kind":"([a-z-]+)",)?"key":(.*),"value":(.*),"pos":"([^"]*)","ts":(-?\d+)\}$/s;

/** The committed records of a tablet's folder, by the rules of docs/sinks-file.md and no code of the sink. */
export function recordsOfFolder(folder: string): FiledRecord[] {
  const names = readdirSync(folder)
    .filter((name) => /^\d+(_.*)?\.jsonl(\.open)?$/.test(name))
    .sort();
  // Of one number what is published sorts last.
  const byNumber = new Map(names.map((name) => [Number.parseInt(name), name]));
  const files = [...byNumber].map(([number, name]) => ({ number, name, bytes: readFileSync(join(folder, name)) }));
  const begins = files.map(({ bytes }) => JSON.parse(bytes.toString('utf8', 0, bytes.indexOf(10))) as Begin);
  return files.flatMap(({ number, name, bytes }, i) => {
    const next = begins[i + 1];
    if (name.includes('_')) return recordsOf(bytes, begins[i]!.table);
    if (next === undefined) return recordsOf(bytes.subarray(0, bytes.lastIndexOf(10) + 1), begins[i]!.table);
    return next.previous?.file === number ? recordsOf(bytes.subarray(0, next.previous.bytes), begins[i]!.table) : [];
  });
}

interface Begin {
  readonly table: string;
  readonly previous: { readonly file: number; readonly bytes: number } | null;
}

/** Of the lines that a commit stands behind. */
function recordsOf(bytes: Buffer, first: string): FiledRecord[] {
  const records: FiledRecord[] = [];
  let pending: FiledRecord[] = [];
  let table = first;
  for (const line of bytes.toString().split('\n')) {
    if (line.startsWith('{"commit":')) {
      for (const record of pending) records.push(record); // a write may have more than a call takes arguments
      pending = [];
    } else if (line.startsWith('{"table":')) ({ table } = JSON.parse(line) as { table: string });
    else if (line !== '' && !line.startsWith('{"begin":')) {
      const [, kind, key, value, pos, ts] = RECORD.exec(line) ?? [];
      if (key === undefined) throw new Error(`no record: ${line}`);
      pending.push({
        ...(kind && { kind }),
        table,
        key,
        value: value === 'null' ? null : value!,
        pos: pos!,
        ts: Number(ts),
      });
    }
  }
  return records;
}

/** Those of every tablet of every creation of a stream. */
export function recordsOfStream(dir: string, streamName: string): FiledRecord[] {
  const stream = join(dir, streamName);
  return readdirSync(stream).flatMap((creation) =>
    readdirSync(join(stream, creation))
      .filter((name) => name !== 'tables')
      .flatMap((tablet) => recordsOfFolder(join(stream, creation, tablet))),
  );
}
