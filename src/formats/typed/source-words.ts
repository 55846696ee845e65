import type { ChangeBatch, TabletRef } from '../../change/change.ts';
import { hybridTimeToMicros } from '../../kudu/hybrid-time.ts';

/** A table's name as readers of Debezium's records expect it: in two. */
export interface TableWords {
  /** What stands before the first dot, without Impala's prefix; empty where there is no dot. */
  readonly db: string;
  readonly table: string;
}

/** `impala::shop.orders` is `orders` in `shop`. */
export function tableWords(name: string): TableWords {
  const dot = name.indexOf('.');
  if (dot < 0) return { db: '', table: name };
  return { db: name.slice(0, dot).replace(/^impala::/, ''), table: name.slice(dot + 1) };
}

/** What `source` says of every row of a batch. */
export interface SourceWords extends TableWords {
  readonly tablet: TabletRef;
  readonly millis: number;
  readonly micros: bigint;
  readonly nanos: bigint;
  /** Debezium's enum. */
  readonly snapshot: 'true' | 'incremental' | 'false';
  /** A list of texts as JSON, up to the number of the row. */
  readonly sequence: string;
}

export function sourceWords(batch: ChangeBatch): SourceWords {
  const { tablet, hybridTime, opId, isCopy } = batch;
  const micros = hybridTimeToMicros(hybridTime);
  return {
    ...tableWords(tablet.tableName),
    tablet,
    millis: Math.floor(Number(micros) / 1000),
    micros,
    nanos: micros * 1000n,
    snapshot: isCopy ? 'true' : 'false',
    sequence: `["${hybridTime}","${opId.term}","${opId.index}",`,
  };
}
