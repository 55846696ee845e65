import type { ChangeBatch, CopyKind, TabletRef } from '../../change/change.ts';
import { hybridTimeToMicros } from '../../kudu/hybrid-time.ts';
import { splitTableName, type SplitName } from '../table-name.ts';

/** Debezium's words. */
const SNAPSHOTS: Readonly<Record<CopyKind, 'true' | 'incremental'>> = { base: 'true', incremental: 'incremental' };

/** What `source` says of every row of a batch. */
export interface SourceWords extends SplitName {
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
  const { tablet, hybridTime, opId, copy } = batch;
  const micros = hybridTimeToMicros(hybridTime);
  return {
    ...splitTableName(tablet.tableName),
    tablet,
    millis: Math.floor(Number(micros) / 1000),
    micros,
    nanos: micros * 1000n,
    snapshot: copy === null ? 'false' : SNAPSHOTS[copy],
    sequence: `["${hybridTime}","${opId.term}","${opId.index}","`,
  };
}
