import type { ChangeBatch, CopyKind, TabletRef } from '../change/change.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import { writeBigInt, writeUint } from '../util/ascii-numbers.ts';
import { again, ascii, copy, inner } from './json-text.ts';
import { splitTableName } from './table-name.ts';

/** Of numbers and the names before them, in head and source of a batch, at most. */
const MAX_NUMBERS_BYTES = 512;
const TS_MS = ascii('","ts_ms":');
const TS_US = ascii(',"ts_us":');
const THOUSAND = ascii('000');
const TS_NS = ascii(',"ts_ns":');
const BEFORE = ascii(',"transaction":null,"before":');
const INDEX = ascii(',"index":');
const LSN = ascii(',"lsn":');
const HYBRID_TIME = ascii(',"hybrid_time":"');
const ROW = ascii('","row":');
/** The row of a copy has no number. */
const ROW_IS_NULL = ascii('","row":null');
const SEQUENCE = ascii(',"sequence":"[\\"');
const NEXT = ascii('\\",\\"');
const LAST_IS_NULL = ascii('\\",null');

/** Debezium's words. */
const SNAPSHOTS: Readonly<Record<CopyKind, string>> = { base: 'true', incremental: 'incremental' };
const OF_LOG = 'false';

/** Where in the memory `source` begins, and the text up to the end of `sequence`. */
const NOWHERE = { sourceAt: 0, sequenceAt: 0, end: 0 };

/** The parts of `source` that only a rename changes. */
interface TabletText {
  readonly beforeTimes: Buffer;
  /** By what `snapshot` says, up to the term. */
  readonly afterTimes: Readonly<Record<CopyKind | 'log', Buffer>>;
}

/** What is the same for all rows of a batch but the number of a row: made once for each. */
export class BatchText {
  /** From behind the letter of `op` up to the value of `before`. */
  head: Buffer = Buffer.alloc(0);
  /** From behind the images up to the row's number, which comes twice; in a copy, which has none, up to behind both. */
  toRow: Buffer = Buffer.alloc(0);
  /** From there to the number again, as the last of `sequence`. */
  toSequence: Buffer = Buffer.alloc(0);
  /** Of all three. */
  bytes = 0;
  millis = 0;
  readonly #stream: { readonly version: string; readonly name: string };
  readonly #tablets = new WeakMap<TabletRef, TabletText>();
  #memory = Buffer.alloc(0);
  #places = NOWHERE;

  constructor(stream: { readonly version: string; readonly name: string }) {
    this.#stream = stream;
  }

  compile({ tablet, opId, hybridTime, copy: kind }: ChangeBatch): void {
    const { beforeTimes, afterTimes } = this.#tabletText(tablet);
    const names = afterTimes[kind ?? 'log'];
    const most = beforeTimes.length + names.length + MAX_NUMBERS_BYTES;
    if (this.#memory.length < most) [this.#memory, this.#places] = [Buffer.allocUnsafeSlow(most), NOWHERE];
    const out = this.#memory;
    const micros = Number(hybridTimeToMicros(hybridTime));
    this.millis = Math.floor(micros / 1000);

    let at = copy(out, 0, TS_MS);
    const timesAt = at;
    at = writeTimes(out, at, this.millis, micros);
    const timesEnd = at;
    const sourceAt = copy(out, at, BEFORE);

    at = copy(out, sourceAt, beforeTimes);
    at = again(out, at, timesAt, timesEnd);
    at = copy(out, at, names);
    const termAt = at;
    at = writeBigInt(out, at, opId.term);
    const termEnd = at;
    at = copy(out, at, INDEX);
    const indexAt = at;
    at = writeBigInt(out, at, opId.index);
    const indexEnd = at;
    at = copy(out, at, LSN);
    const timeAt = at;
    at = writeBigInt(out, at, hybridTime);
    const timeEnd = at;
    at = copy(out, at, HYBRID_TIME);
    at = again(out, at, timeAt, timeEnd);
    const sequenceAt = copy(out, at, kind === null ? ROW : ROW_IS_NULL);

    at = copy(out, sequenceAt, SEQUENCE);
    at = again(out, at, timeAt, timeEnd);
    at = copy(out, at, NEXT);
    at = again(out, at, termAt, termEnd);
    at = copy(out, at, NEXT);
    at = again(out, at, indexAt, indexEnd);
    const end = copy(out, at, kind === null ? NEXT : LAST_IS_NULL);
    this.#cut(sourceAt, kind === null ? sequenceAt : end, end);
  }

  /** Views of the memory: those of the batch before, where numbers have as many digits as then. */
  #cut(sourceAt: number, sequenceAt: number, end: number): void {
    const known = this.#places;
    if (known.sourceAt === sourceAt && known.sequenceAt === sequenceAt && known.end === end) return;
    this.#places = { sourceAt, sequenceAt, end };
    this.head = this.#memory.subarray(0, sourceAt);
    this.toRow = this.#memory.subarray(sourceAt, sequenceAt);
    this.toSequence = this.#memory.subarray(sequenceAt, end);
    this.bytes = end;
  }

  #tabletText(tablet: TabletRef): TabletText {
    const known = this.#tablets.get(tablet);
    if (known) return known;
    const { tableId, tabletId, tableName } = tablet;
    const { version, name } = this.#stream;
    const ids = { ...splitTableName(tableName), kudu_table: tableName, table_id: tableId, tablet_id: tabletId };
    const afterTimes = (snapshot: string): Buffer => Buffer.from(`,${inner({ snapshot, ...ids })},"term":`);
    const text = {
      beforeTimes: Buffer.from(`,"source":{${inner({ connector: 'kudu', version, name })},"ts_ms":`),
      afterTimes: {
        log: afterTimes(OF_LOG),
        base: afterTimes(SNAPSHOTS.base),
        incremental: afterTimes(SNAPSHOTS.incremental),
      },
    };
    this.#tablets.set(tablet, text);
    return text;
  }
}

function writeTimes(out: Buffer, at: number, millis: number, micros: number): number {
  at = writeUint(out, at, millis);
  at = copy(out, at, TS_US);
  const microsAt = at;
  at = writeUint(out, at, micros);
  const microsEnd = at;
  at = copy(out, at, TS_NS);
  at = again(out, at, microsAt, microsEnd); // with three digits more it does not fit into a double
  return micros === 0 ? at : copy(out, at, THOUSAND);
}
