import { unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { TabletPosition } from '../../../change/position.ts';
import { RecordKind, type RecordBatch } from '../../../change/record-batch.ts';
import type { RecordSchemas } from '../../../change/record.ts';
import { blockHead, containerHeader } from './avro-container.ts';
import { SinkError } from '../../sink.ts';
import { AvroRecords, recordSchema, type Encoded } from './avro-record.ts';
import type { Content } from '../content.ts';
import { openFile, syncFolder, writeAll, type Steps } from '../disk.ts';
import { commitLine, upTo, type CommittedData, type Span } from '../lines.ts';
import { dataName } from '../names.ts';
import { publishAvro, removeData } from '../publishing.ts';
import type { OpenFile } from '../tablet-folder.ts';

/** A journal is read whole by who takes over: no more of it than that. */
const MAX_JOURNAL_BYTES = 16 << 20;
/** Of one number, as long as a write does not need more. */
const MAX_PARTS = 500;

/** A file of records of one schema. */
interface Part {
  readonly name: string;
  readonly handle: FileHandle;
  readonly schemas: RecordSchemas | null;
  readonly sync: Buffer;
  /** Written by now, and committed. */
  bytes: number;
  committed: number;
  /** Of what is not committed. */
  crc: number;
  span: Span | null;
}

/** Records of one schema that lie one behind the other. */
interface Block {
  readonly schemas: RecordSchemas | null;
  readonly records: number;
  readonly encoded: Encoded;
  readonly span: Span;
}

/** Object container files of Avro, whose journal says what of them counts. A change of schema begins a new one. */
export class AvroContent implements Content {
  file: OpenFile;
  end: number;
  table: string;
  readonly tables: Set<string>;
  readonly #folder: string;
  readonly #token: string;
  readonly #records = new AvroRecords();
  #parts: Part[] = [];
  /** What rows were written under last: records without a schema go with them. */
  #schemas: RecordSchemas | null = null;

  /** @param token of the writer, by which its files are told from others' */
  constructor(folder: string, file: OpenFile, table: string, token: string) {
    this.#folder = folder;
    this.#token = token;
    this.file = file;
    this.end = file.bytes;
    this.table = table;
    this.tables = new Set([table]);
  }

  get hasRecords(): boolean {
    return this.#parts.length > 0;
  }

  isFull(bytes: number): boolean {
    const written = this.#parts.reduce((sum, part) => sum + part.bytes, 0);
    return written >= bytes || this.end >= Math.min(bytes, MAX_JOURNAL_BYTES) || this.#parts.length >= MAX_PARTS;
  }

  encode(batch: RecordBatch): (steps: Steps) => Promise<void> {
    const blocks = [...this.#blocksOf(batch)];
    return async (steps) => {
      for (const block of blocks) await this.#write(block, steps);
    };
  }

  commitLine(position: TabletPosition): string {
    return commitLine(position, this.end, this.table, 0, this.#uncommitted().map(toCommitted));
  }

  async sync(steps: Steps): Promise<void> {
    await Promise.all(this.#uncommitted().map(({ handle }) => steps.take(() => handle.datasync())));
  }

  said(bytes: number): void {
    this.end += bytes;
    for (const part of this.#uncommitted()) {
      part.committed = part.bytes;
      part.crc = 0;
    }
  }

  async giveBack(): Promise<void> {
    await this.file.handle.truncate(this.end).catch(() => undefined);
    for (const { name, handle, committed } of this.#uncommitted())
      await (committed === 0 ? unlink(join(this.#folder, name)) : handle.truncate(committed)).catch(() => undefined);
  }

  turn(next: OpenFile): (steps: Steps) => Promise<boolean> {
    const [{ number }, parts] = [this.file, this.#parts];
    void this.close().catch(() => undefined);
    this.file = next;
    this.end = next.bytes;
    this.#parts = [];
    return async (steps) => {
      const isOurs = await publishAvro(this.#folder, number, parts.map(toCommitted), steps);
      if (isOurs) await removeData(this.#folder, next.number, steps);
      return isOurs;
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.file.handle.close(), ...this.#parts.map(({ handle }) => handle.close())]);
  }

  #uncommitted(): readonly Part[] {
    return this.#parts.filter(({ bytes, committed }) => bytes > committed);
  }

  *#blocksOf(batch: RecordBatch): Generator<Block> {
    for (let from = 0, end: number; from < batch.length; from = end) {
      const schemas = this.#schemasFrom(batch, from);
      for (end = from; end < batch.length; end++) {
        const { schemas: own, table } = batch.runOf(end);
        if (own !== null && !isSame(own, schemas)) break;
        this.table = table;
        this.tables.add(table);
        if (own === null && isRow(batch.kindOf(end)))
          throw new SinkError(
            'refused',
            'files of avro take rows whose schema comes with them: leave registry out of the format',
          );
      }
      this.#schemas = schemas;
      const span = upTo(upTo(null, batch.position(from)), batch.position(end - 1));
      yield { schemas, records: end - from, encoded: this.#records.encode(batch, from, end), span };
    }
  }

  /** Of a record, or where it has none what comes before it, or else behind it. */
  #schemasFrom(batch: RecordBatch, from: number): RecordSchemas | null {
    const own = batch.runOf(from).schemas;
    if (own !== null) return own;
    if (this.#schemas !== null) return this.#schemas;
    for (let i = from; i < batch.length; i++) {
      const { schemas } = batch.runOf(i);
      if (schemas !== null) return schemas;
    }
    return null;
  }

  async #write({ schemas, records, encoded, span }: Block, steps: Steps): Promise<void> {
    const last = this.#parts.at(-1);
    const part = last && isSame(last.schemas, schemas) ? last : await this.#begin(schemas, steps);
    const { out, start, end } = encoded;
    const head = blockHead(records, end - start);
    head.copy(out, start - head.length);
    part.sync.copy(out, end);
    await write(part, out.subarray(start - head.length, end + part.sync.length), steps);
    part.span = upTo(part.span ?? span, span.last);
  }

  async #begin(schemas: RecordSchemas | null, steps: Steps): Promise<Part> {
    const name = dataName(this.file.number, this.#parts.length, this.#token);
    const { bytes: header, sync } = containerHeader(recordSchema(schemas));
    const handle = await openFile(join(this.#folder, name), 'ax', steps);
    const part: Part = { name, handle, schemas, sync, bytes: 0, committed: 0, crc: 0, span: null };
    this.#parts.push(part);
    await syncFolder(this.#folder, steps);
    await write(part, header, steps);
    return part;
  }
}

async function write(part: Part, bytes: Buffer, steps: Steps): Promise<void> {
  await writeAll(part.handle, bytes, steps);
  part.bytes += bytes.length;
  part.crc = crc32(bytes, part.crc);
}

function toCommitted({ name, bytes, committed, crc, span }: Part): CommittedData {
  const { first, last } = span ?? { first: '', last: '' }; // there is none without records
  return { file: name, from: committed, bytes, crc, first, last };
}

function isRow(kind: RecordKind): boolean {
  return kind === RecordKind.ROW || kind === RecordKind.TOMBSTONE;
}

function isSame(a: RecordSchemas | null, b: RecordSchemas | null): boolean {
  return a === b || (a !== null && b !== null && a.key === b.key && a.value === b.value);
}
