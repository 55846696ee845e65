import type { Change, MissingChanges, Rewound, TabletEnd, TabletEvent, TabletRef } from '../change/change.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import type { OpId } from '../kudu/opid.ts';
import type { Cut } from './table-copier.ts';

interface Place {
  readonly opId: OpId;
  readonly hybridTime: HybridTime;
}

/** The schema before the rows of a copy. */
export function announcement(tablet: TabletRef, { opId, time, schemaVersion, schema, tableName }: Cut): Change {
  const after = { tableName, schema };
  return { kind: 'schema', tablet, opId, hybridTime: time, version: schemaVersion, before: null, after };
}

/** That changes which were told before come again behind a cut. */
export function rewoundEvent(tablet: TabletRef, { opId, time }: Cut, rewound: Rewound): TabletEvent {
  return { kind: 'event', event: 'rewound', tablet, opId, hybridTime: time, partition: null, missing: null, rewound };
}

/** That somebody has left out the rows of an operation. */
export function skippedEvent(tablet: TabletRef, { opId, hybridTime }: Place): TabletEvent {
  return { kind: 'event', event: 'skipped', tablet, opId, hybridTime, partition: null, missing: null };
}

/**
 * That a tablet was dropped, and what of it will never come.
 * Its place is that of the operation that was read last.
 * @param lacksCopy whether rows that were owed could not be read any more
 */
export function endEvent(
  tablet: TabletRef,
  { opId, hybridTime }: Place,
  { event, partition, lastIndex }: TabletEnd,
  lacksCopy: boolean,
): TabletEvent {
  const operations = lastIndex > opId.index ? { fromIndex: opId.index + 1n, toIndex: lastIndex } : null;
  const missing: MissingChanges | null = operations || lacksCopy ? { operations, copy: lacksCopy } : null;
  return { kind: 'event', event, tablet, opId, hybridTime, partition, missing };
}
